"""Ablations: variants of one recipe, trained and evaluated alike, in one table with paired differences."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.comparison import VariantResult
from wla.rollout.build import make_variants, robot_of
from wla.rollout.results import EpisodeResult, read_results
from wla.run_folder import checkpoint_folder, latest_step, state_folder
from wla.specs import RobotSpec
from wla.training.ablation_config import Ablation
from wla.training.ablation_files import require_same_ablation, run_folder, save_config, write_calls, write_tables
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.trainer import require_trainable, train


def ablate(config: Ablation, out: Path, *, num_envs: int = 1) -> list[VariantResult]:
    """Trains and evaluates all variants, and writes tables of success and costs and the results into `out` after each.

    At the end there is one of what a call costs.

    The same call resumes an interrupted ablation; with another split it evaluates the same training runs. ValueError
    when `out` holds a different one, for unknown names of the environment, data that cannot be read or are of another
    robot; what is refused before the first training leaves nothing in `out`.
    """
    robot = robot_of(make_variants(config)[0])
    require_same_ablation(config, out)
    results: dict[str, list[list[EpisodeResult]]] = {name: [] for name in config.variants}
    rows: list[VariantResult] = []
    for seed in config.seeds:  # all variants of a seed first, so that the table is of use before the last seed is done
        for name, overrides in config.variants.items():
            run = run_folder(out, name, seed)
            recipe = config.recipe.override([*overrides, f"loop.seed={seed}"])
            checkpoint = _train_variant(recipe, run, robot, partial(save_config, config, out))
            run_benchmark(config.evaluation(str(checkpoint), num_envs), run.parent / config.split)
            results[name].append(read_results(run.parent / config.split / "results.jsonl"))
            rows = write_tables(config, out, results)
    write_calls(config, out)
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
