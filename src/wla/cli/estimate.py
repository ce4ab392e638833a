"""`wla estimate`: what a recipe needs, before anything is downloaded or trained."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from tyro.conf import Positional

from wla.cli.command import CliArgs, Command
from wla.presets.recipe import load_recipe


class EstimateArgs(CliArgs):
    """Say how many parameters a recipe has, how much memory it needs, whether that fits, and what to change if not.

    Nothing is downloaded and no data is read. Weights, gradients and moments are exact; activations are derived from
    the architecture and were compared with PyTorch's on a CPU; no GPU measured the sum. GB are 10^9 bytes.

    examples:
      wla estimate wla0_libero --gpu 80
      wla estimate wla0_libero loop.micro_batches=256 --gpu 24
      wla estimate wla0_libero loop.micro_batches=64 --processes 8 --gpu 80
    """

    recipe: Positional[str]
    """The recipe of a policy, or a preset: wla0_libero, wla0_robotwin, wla0_robotwin_videos, wla0_rmbench."""
    overrides: Positional[tuple[str, ...]] = ()
    """Changes to the recipe, as dotted.path=value."""
    gpu: float = Field(default=24.0, gt=0)
    """Memory of one GPU, in GB."""
    processes: int = Field(default=1, ge=1)
    """How many share the training, one GPU each."""


def estimate(args: EstimateArgs) -> int:
    from wla.presets.wla0 import presets
    from wla.training.memory_estimate.suggestions import preset_train_config, report
    from wla.training.objectives.policy import PolicyTrainConfig

    published = args.recipe in presets()
    config = preset_train_config(args.recipe) if published else load_recipe(args.recipe)
    if not isinstance(config, PolicyTrainConfig):
        raise ValueError(f"{args.recipe} trains no policy ({type(config).__name__}); estimates are for policies")
    print(report(Path(args.recipe).stem, config.override(args.overrides), gpu=args.gpu, processes=args.processes))
    return 0


ESTIMATE = {"estimate": Command(EstimateArgs, estimate)}
