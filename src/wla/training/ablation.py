"""Variants of one recipe, trained and evaluated alike, in one table with paired differences."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from wla.config import Config
from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.configs import EvalConfig
from wla.files import atomic_write_text, disk_errors
from wla.policy.checkpoint import CONFIG, CheckpointConfig
from wla.rollout.results import WILSON_Z, EpisodeResult, read_results, success_rate
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.trainer import STATE, train

TABLE, RESULTS = "ablation.md", "ablation.json"


class Ablation(Config):
    """What to compare. The first variant is what the others are compared with."""

    recipe: PolicyTrainConfig
    variants: dict[str, tuple[str, ...]] = Field(min_length=2)
    """Name -> changes to the recipe, as dotted.path=value."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Of training; each variant is trained with each."""
    tasks: tuple[str, ...]
    setting: tuple[str, ...] = ("clean",)
    episodes: int = Field(default=50, ge=1)
    """Of each task and setting, the same for all variants."""

    @model_validator(mode="after")
    def _check_overrides(self) -> Self:
        for overrides in self.variants.values():
            self.recipe.override(overrides)  # a mistake is found now, and not after hours
        return self


class VariantResult(Config):
    """A variant: successes of n with Wilson's 95 % interval, and how far its rate is from the first one's.

    The difference is the mean over episodes of the same training seed, task and evaluation seed; its 95 % interval is
    the normal one of that mean. None for the first variant.
    """

    variant: str
    successes: int
    n: int
    rate: float
    interval: tuple[float, float]
    difference: float | None
    difference_interval: tuple[float, float] | None


def ablate(config: Ablation, out: Path, *, num_envs: int = 1) -> list[VariantResult]:
    """Train and evaluate what `out` does not hold yet, and write the table, which grows with each variant.

    Stopped, the same call goes on.
    """
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        settled = out / "config.json"
        if settled.exists() and Ablation.load(settled) != config:
            raise ValueError(f"{out}: holds another ablation; use another --out folder")
        config.save(settled)
    results: dict[str, list[list[EpisodeResult]]] = {name: [] for name in config.variants}
    lines: list[VariantResult] = []
    for seed in config.seeds:  # all variants of a seed first: a table can be read before the last seed is done
        for name, overrides in config.variants.items():
            folder = out / name.replace(" ", "_") / f"seed_{seed}"
            checkpoint = _train_variant(config.recipe.override([*overrides, f"loop.seed={seed}"]), folder / "run")
            asked = EvalConfig(
                policy=str(checkpoint),
                tasks=config.tasks,
                setting=config.setting,
                episodes=config.episodes,
                num_envs=num_envs,
            )
            run_benchmark(asked, folder / "eval")
            results[name].append(read_results(folder / "eval" / "results.jsonl"))
            lines = compare_variants({each: runs for each, runs in results.items() if runs})
            with disk_errors(out, "free disk space; the same command writes the table"):
                atomic_write_text(out / TABLE, table(lines))
                atomic_write_text(out / RESULTS, json.dumps([line.model_dump() for line in lines], indent=2) + "\n")
    return lines


def compare_variants(results: dict[str, list[list[EpisodeResult]]]) -> list[VariantResult]:
    """results: variant -> for each training seed, its episodes. The first variant is what the others differ from."""
    decided = {name: _success_by_episode(runs) for name, runs in results.items()}
    first = next(iter(decided))
    lines = []
    for name, found in decided.items():
        rate = success_rate(episode for run in results[name] for episode in run)
        assert rate.rate is not None
        assert rate.low is not None
        assert rate.high is not None
        difference = interval = None
        if name != first:
            pairs = [found[key] - decided[first][key] for key in found.keys() & decided[first].keys()]
            difference = float(np.mean(pairs))
            half = WILSON_Z * float(np.std(pairs, ddof=1)) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.inf
            interval = (difference - half, difference + half)
        lines.append(
            VariantResult(
                variant=name,
                successes=rate.successes,
                n=rate.n,
                rate=rate.rate,
                interval=(rate.low, rate.high),
                difference=difference,
                difference_interval=interval,
            )
        )
    return lines


def table(lines: Sequence[VariantResult]) -> str:
    """As Markdown, in percent."""
    rows = ["| variant | success, % | 95 % | n | difference | 95 % |", "|---|---|---|---|---|---|"]
    for line in lines:
        low, high = line.interval
        row = f"| {line.variant} | {100 * line.rate:.1f} | {100 * low:.1f} .. {100 * high:.1f} | {line.n} |"
        if line.difference is None or line.difference_interval is None:
            rows.append(f"{row} | |")
        else:
            low, high = line.difference_interval
            rows.append(f"{row} {100 * line.difference:+.1f} | {100 * low:+.1f} .. {100 * high:+.1f} |")
    return "\n".join(rows) + "\n"


def _success_by_episode(runs: Sequence[Sequence[EpisodeResult]]) -> dict[tuple[object, ...], int]:
    return {
        (number, result.variant, result.seed): int(result.outcome == "success")
        for number, run in enumerate(runs)
        for result in run
        if result.outcome != "error"
    }


def _train_variant(recipe: PolicyTrainConfig, folder: Path) -> Path:
    """The finished checkpoint of a variant, trained now as far as it is not yet."""
    checkpoint = folder / "checkpoint"
    if (checkpoint / CONFIG).is_file():
        done = CheckpointConfig.load(checkpoint / CONFIG).trained_steps
        if done == recipe.loop.optim.steps:
            return checkpoint
    return train(recipe.build(), recipe.loop, folder, resume=(folder / STATE).is_dir())
