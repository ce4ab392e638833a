"""Ablations: variants of one recipe, trained and evaluated alike, in one table with paired differences."""

from __future__ import annotations

import json
from pathlib import Path

from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.comparison import VariantResult, compare_variants, table
from wla.files import atomic_write_text, disk_errors
from wla.rollout.build import make_variants
from wla.rollout.results import EpisodeResult, read_results
from wla.run_folder import checkpoint_folder, latest_step, state_folder
from wla.training.ablation_config import Ablation, folder_name
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.trainer import train


def table_path(config: Ablation, out: Path) -> Path:
    """Returns the file of the table; the results lie beside it as JSON."""
    return out / f"{config.split}.md"


def ablate(config: Ablation, out: Path, *, num_envs: int = 1) -> list[VariantResult]:
    """Trains and evaluates all variants, and writes the table and the results into `out` after each.

    The same call resumes an interrupted ablation; with another split it evaluates the same training runs. ValueError
    when `out` holds a different one, and for unknown names of the environment.
    """
    make_variants(config.env, config.tasks, config.setting, config.embodiment)
    _open_folder(config, out)
    results: dict[str, list[list[EpisodeResult]]] = {name: [] for name in config.variants}
    rows: list[VariantResult] = []
    for seed in config.seeds:  # all variants of a seed first, so that the table is of use before the last seed is done
        for name, overrides in config.variants.items():
            folder = out / folder_name(name) / f"seed_{seed}"
            checkpoint = _train_variant(config.recipe.override([*overrides, f"loop.seed={seed}"]), folder / "run")
            run_benchmark(config.evaluation(str(checkpoint), num_envs), folder / config.split)
            results[name].append(read_results(folder / config.split / "results.jsonl"))
            rows = compare_variants({variant: runs for variant, runs in results.items() if runs})
            path = table_path(config, out)
            with disk_errors(out, "free disk space; the same command writes the table"):
                atomic_write_text(path, f"{_describe(config)}\n\n{table(rows)}")
                atomic_write_text(
                    path.with_suffix(".json"), json.dumps([row.model_dump() for row in rows], indent=2) + "\n"
                )
    return rows


def _open_folder(config: Ablation, out: Path) -> None:
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        path = out / "config.json"
        if path.exists() and Ablation.load(path).replace(split=config.split) != config:
            raise ValueError(f"{out}: holds a different ablation; use another --out folder")
        config.save(path)


def _describe(config: Ablation) -> str:
    seeds = config.evaluation("", 1).seeds
    purpose = {
        "validation": "to choose among variants; `split=evaluation` gives the final figures of a choice",
        "evaluation": "for final figures: nothing may be chosen by them",
    }[config.split]
    return f"{config.split.capitalize()} seeds {seeds[0]} to {seeds[-1]} of each task and setting, {purpose}."


def _train_variant(recipe: PolicyTrainConfig, folder: Path) -> Path:
    """Trains a variant unless it is finished, resuming it where possible, and returns its checkpoint."""
    if latest_step(folder) == recipe.loop.optim.steps:
        return checkpoint_folder(folder)
    return train(recipe.build(), recipe.loop, folder, resume=state_folder(folder) is not None)
