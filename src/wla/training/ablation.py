"""Ablations: variants of one recipe, trained and evaluated alike, in one table with paired differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.comparison import VariantResult, compare_variants, table
from wla.files import atomic_write_text, disk_errors
from wla.rollout.build import make_variants, robot_of
from wla.rollout.results import EpisodeResult, read_results
from wla.run_folder import checkpoint_folder, latest_step, state_folder
from wla.specs import RobotSpec
from wla.training.ablation_config import Ablation, folder_name
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.trainer import require_trainable, train

CONFIG = "config.json"
"""File of an ablation's folder with its configuration."""


def table_path(config: Ablation, out: Path) -> Path:
    """Returns the file of the table; the results lie beside it as JSON."""
    return out / f"{config.split}.md"


def ablate(config: Ablation, out: Path, *, num_envs: int = 1) -> list[VariantResult]:
    """Trains and evaluates all variants, and writes the table and the results into `out` after each.

    The same call resumes an interrupted ablation; with another split it evaluates the same training runs. ValueError
    when `out` holds a different one, for unknown names of the environment, data that cannot be read or are of another
    robot; what is refused before the first training leaves nothing in `out`.
    """
    robot = robot_of(make_variants(config)[0])
    _require_same_ablation(config, out)
    results: dict[str, list[list[EpisodeResult]]] = {name: [] for name in config.variants}
    rows: list[VariantResult] = []
    for seed in config.seeds:  # all variants of a seed first, so that the table is of use before the last seed is done
        for name, overrides in config.variants.items():
            folder = out / folder_name(name) / f"seed_{seed}"
            recipe = config.recipe.override([*overrides, f"loop.seed={seed}"])
            checkpoint = _train_variant(recipe, folder / "run", robot, partial(_save_config, config, out))
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


def _train_variant(recipe: PolicyTrainConfig, folder: Path, robot: RobotSpec, claim: Callable[[], None]) -> Path:
    """Trains a variant unless it is finished, resuming it where possible, and returns its checkpoint.

    robot: of the environment. claim: is called when nothing refuses the training any more.
    """
    if latest_step(folder) != recipe.loop.optim.steps:
        objective = recipe.build()
        ours = objective.checkpoint.choose_robot(robot, "of the recipe").spec
        ours.require_equal(robot, ours="the recipe's data", theirs="the environment")
        require_trainable(objective, recipe.loop)
        claim()
        train(objective, recipe.loop, folder, resume=state_folder(folder) is not None)
    return checkpoint_folder(folder)


def _require_same_ablation(config: Ablation, out: Path) -> None:
    path = out / CONFIG
    if path.exists() and Ablation.load(path).replace(split=config.split) != config:
        raise ValueError(f"{out}: holds a different ablation; use another --out folder")


def _save_config(config: Ablation, out: Path) -> None:
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        config.save(out / CONFIG)


def _describe(config: Ablation) -> str:
    seeds = config.evaluation("", 1).seeds
    purpose = {
        "validation": "to choose among variants; `split=evaluation` gives the final figures of a choice",
        "evaluation": "for final figures: nothing may be chosen by them",
    }[config.split]
    return f"{config.split.capitalize()} seeds {seeds[0]} to {seeds[-1]} of each task and setting, {purpose}."
