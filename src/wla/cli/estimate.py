"""`wla estimate`: what a recipe needs, before anything is downloaded or trained."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from wla.cli.command import CliArgs, Command
from wla.cli.recipe_help import recipe_help
from wla.presets.names import PRESETS
from wla.presets.recipe import load_recipe

if TYPE_CHECKING:
    from wla.training import RLTrainConfig


class EstimateArgs(CliArgs):
    """Estimate the parameters and the memory of a recipe, and what to change where they do not fit.

    For a recipe of reinforcement learning: the memory of the process that learns, in which the rollouts of an update
    are kept.

    Nothing is downloaded and no data is read. Weights, gradients and optimizer state are exact; activations are
    derived from the architecture and were compared with PyTorch's on a CPU; no GPU measured the sum. GB are 10^9 bytes.

    examples:
      wla estimate wla0_libero --gpu 80
      wla estimate wla0_libero loop.micro_batches=256 --gpu 24
      wla estimate wla0_libero loop.micro_batches=64 --processes 8 --gpu 80
      wla estimate nano_tabletop_rl policy=outputs/wla0_libero/checkpoint --calls 60
    """

    recipe: str
    """The recipe of a policy, or a preset: wla0_libero, wla0_robotwin, wla0_robotwin_videos, wla0_rmbench."""
    overrides: tuple[str, ...] = ()
    """Changes to the recipe, as dotted.path=value."""
    gpu: float = Field(default=24.0, gt=0)
    """Memory of one GPU, in GB."""
    processes: int = Field(default=1, ge=1)
    """Processes of the training, one GPU per process."""
    calls: int = Field(default=40, ge=1)
    """Calls of the policy in an episode, with reinforcement learning: its steps, divided by those between two calls."""


def estimate(args: EstimateArgs) -> int:
    config = _load(args.recipe)
    from wla.training import PolicyTrainConfig, RLTrainConfig

    if isinstance(config, RLTrainConfig):
        return _estimate_rollouts(args, config.override(args.overrides))
    if not isinstance(config, PolicyTrainConfig):
        raise ValueError(f"{args.recipe} does not train a policy ({type(config).__name__}); estimates are for policies")
    config = config.override(args.overrides)
    from wla.training.memory_estimate.suggestions import report

    print(report(Path(args.recipe).stem, config, gpu=args.gpu, processes=args.processes))
    return 0


def _estimate_rollouts(args: EstimateArgs, config: RLTrainConfig) -> int:
    from wla.models.configs import WLAConfig
    from wla.models.model_config import require_config
    from wla.policy.hub import fetch_config
    from wla.training.memory_estimate.rollouts import rollout_report

    if args.processes > 1:
        raise ValueError(f"--processes {args.processes}: reinforcement learning runs in one process; leave it out")
    model = require_config(fetch_config(config.policy).model, WLAConfig, "the estimate")
    print(rollout_report(Path(args.recipe).stem, config, model, calls=args.calls, gpu=args.gpu))
    return 0


def _load(recipe: str) -> Any:
    """Returns the configuration of a recipe or of a preset."""
    if recipe not in PRESETS:
        return load_recipe(recipe)
    from wla.training.wla0 import preset_train_config

    return preset_train_config(recipe)


ESTIMATE = {
    "estimate": Command(
        EstimateArgs,
        estimate,
        positional=("recipe", "overrides"),
        details=partial(recipe_help, load=_load, command="estimate"),
    )
}
