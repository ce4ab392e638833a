"""Ablations: variants of one recipe, trained and evaluated alike, in one table with paired differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from wla.config import Config, Record
from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.configs import EvalConfig
from wla.files import atomic_write_text, disk_errors
from wla.intervals import DIFFERENCE, mean_by_episode, sums_by_episode
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.checkpoint_files import CONFIG
from wla.rollout.results import EpisodeResult, read_results, success_rate
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.trainer import STATE, train

TABLE, RESULTS = "ablation.md", "ablation.json"


class Ablation(Config):
    """An ablation: a recipe, its variants and their evaluation. The first variant is the baseline."""

    recipe: PolicyTrainConfig
    """Recipe that the variants override."""
    variants: dict[str, tuple[str, ...]] = Field(min_length=2)
    """Name -> overrides of the recipe, as dotted.path=value."""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0,), min_length=1)
    """Training seeds; every variant is trained with each."""
    tasks: tuple[str, ...]
    """Tasks of the evaluation."""
    setting: tuple[str, ...] = ("clean",)
    """Settings of the evaluation."""
    episodes: int = Field(default=50, ge=1)
    """Evaluation episodes per task and setting, the same for all variants."""

    @model_validator(mode="after")
    def _check_overrides(self) -> Self:
        for overrides in self.variants.values():
            self.recipe.override(overrides)  # reports a mistake now instead of after hours of training
        return self


class VariantResult(Record):
    """Result of one variant.

    rate: successes / n, with its 95 % `interval`. difference: success rate minus the baseline's, the mean over
    pairs of episodes with the same training seed, task and evaluation seed; difference_interval: 95 % interval of
    that mean, by episode. Both None for the baseline.
    """

    variant: str
    successes: int
    n: int
    rate: float
    interval: tuple[float, float]
    difference: float | None
    difference_interval: tuple[float, float] | None


def ablate(config: Ablation, out: Path, *, num_envs: int = 1) -> list[VariantResult]:
    """Trains and evaluates all variants, and writes `ablation.md` and `ablation.json` into `out` after each.

    The same call resumes an interrupted ablation. ValueError when `out` holds a different one.
    """
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        config_path = out / "config.json"
        if config_path.exists() and Ablation.load(config_path) != config:
            raise ValueError(f"{out}: holds a different ablation; use another --out folder")
        config.save(config_path)
    results: dict[str, list[list[EpisodeResult]]] = {name: [] for name in config.variants}
    rows: list[VariantResult] = []
    for seed in config.seeds:  # all variants of a seed first, so that the table is of use before the last seed is done
        for name, overrides in config.variants.items():
            folder = out / name.replace(" ", "_") / f"seed_{seed}"
            checkpoint = _train_variant(config.recipe.override([*overrides, f"loop.seed={seed}"]), folder / "run")
            evaluation = EvalConfig(
                policy=str(checkpoint),
                tasks=config.tasks,
                setting=config.setting,
                episodes=config.episodes,
                num_envs=num_envs,
            )
            run_benchmark(evaluation, folder / "eval")
            results[name].append(read_results(folder / "eval" / "results.jsonl"))
            rows = compare_variants({variant: runs for variant, runs in results.items() if runs})
            with disk_errors(out, "free disk space; the same command writes the table"):
                atomic_write_text(out / TABLE, table(rows))
                atomic_write_text(out / RESULTS, json.dumps([row.model_dump() for row in rows], indent=2) + "\n")
    return rows


def compare_variants(results: dict[str, list[list[EpisodeResult]]]) -> list[VariantResult]:
    """Returns one result per variant, in order; the first variant is the baseline of the differences.

    results: variant -> the episodes of each training seed.
    """
    success = {name: _success_by_episode(runs) for name, runs in results.items()}
    baseline = next(iter(success))
    rows = []
    for name, outcomes in success.items():
        rate = success_rate(episode for run in results[name] for episode in run)
        assert rate.rate is not None
        assert rate.low is not None
        assert rate.high is not None
        difference = interval = None
        if name != baseline:
            keys = sorted(outcomes.keys() & success[baseline].keys(), key=str)
            pairs = np.array([outcomes[key] - success[baseline][key] for key in keys], np.float64)
            episodes = np.array([str(key[1:]) for key in keys])
            paired = mean_by_episode(*sums_by_episode(pairs, episodes), limits=DIFFERENCE, kind="paired by episode")
            assert paired is not None
            difference, interval = paired.estimate, (paired.low, paired.high)
        rows.append(
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
    return rows


def table(rows: Sequence[VariantResult]) -> str:
    """Returns the results as a Markdown table, in percent."""
    lines = ["| variant | success, % | 95 % | n | difference | 95 % |", "|---|---|---|---|---|---|"]
    for row in rows:
        low, high = row.interval
        line = f"| {row.variant} | {100 * row.rate:.1f} | {100 * low:.1f} .. {100 * high:.1f} | {row.n} |"
        if row.difference is None or row.difference_interval is None:
            lines.append(f"{line} | |")
        else:
            low, high = row.difference_interval
            lines.append(f"{line} {100 * row.difference:+.1f} | {100 * low:+.1f} .. {100 * high:+.1f} |")
    return "\n".join(lines) + "\n"


def _success_by_episode(runs: Sequence[Sequence[EpisodeResult]]) -> dict[tuple[object, ...], int]:
    """Returns (training seed's index, variant, seed) -> 1 for success, 0 for failure; errors are left out."""
    return {
        (number, result.variant, result.seed): int(result.outcome == "success")
        for number, run in enumerate(runs)
        for result in run
        if result.outcome != "error"
    }


def _train_variant(recipe: PolicyTrainConfig, folder: Path) -> Path:
    """Trains a variant unless it is finished, resuming it where possible, and returns its checkpoint."""
    checkpoint = folder / "checkpoint"
    if (checkpoint / CONFIG).is_file():
        steps_done = CheckpointConfig.load(checkpoint / CONFIG).trained_steps
        if steps_done == recipe.loop.optim.steps:
            return checkpoint
    return train(recipe.build(), recipe.loop, folder, resume=(folder / STATE).is_dir())
