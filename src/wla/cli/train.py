"""`wla train`, `wla ablate`: training of a recipe, and of its variants."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import Field

from wla.cli.command import CliArgs, Command
from wla.cli.recipe_help import recipe_help
from wla.presets.recipe import load_recipe


class TrainArgs(CliArgs):
    """Train what a recipe describes. Ctrl-C saves, and --resume continues from there bit for bit.

    `wla train RECIPE --help` shows every field of the recipe: description, type and present value.

    examples:
      wla train nano_tabletop
      wla train nano_tabletop --help
      wla train nano_tabletop loop.batch_size=32 loop.optim.steps=200 --out outputs/short
      wla train nano_tabletop datasets=datasets/mine datasets.0.cache_frames=false
      wla train nano_tabletop --print-config
      wla train nano_tabletop --resume
      wla train nano_tabletop --profile 5 --out outputs/profiled
      torchrun --nproc-per-node 2 -m wla train nano_tabletop loop.micro_batches=2
    """

    recipe: str
    """Name of a bundled recipe, or a .py file with a function config() that returns what to train."""
    overrides: tuple[str, ...] = ()
    """Changes to the recipe, as dotted.path=value."""
    out: Path | None = None
    """Folder of the run; outputs/NAME_OF_THE_RECIPE when left out."""
    resume: bool = False
    """Resume the run in that folder."""
    profile: int | None = Field(default=None, ge=1)
    """Profile this many steps, after the first three: where the time goes is printed, and RUN/profile holds the table
    and a trace (for ui.perfetto.dev). Training continues."""
    print_config: bool = False
    """Print the configuration with the changes made as JSON, and train nothing."""


class AblateArgs(CliArgs):
    """Train and evaluate variants of a recipe alike, and write one table: rates, intervals, paired differences.

    Equal data, steps, seeds and evaluation episodes, of validation seeds: for choosing. split=evaluation then evaluates
    the same training runs for the final figures. Ctrl-C saves; the same command resumes. OUT also gets costs.md
    (parameters, FLOPs of training) and at the end calls.md (FLOPs and time of a call).

    examples:
      wla ablate ablate_world --out outputs/ablate_world
      wla ablate ablate_world split=evaluation --out outputs/ablate_world
      wla ablate ablate_world recipe.loop.optim.steps=200 episodes=10 --out outputs/ablate_short
      wla ablate ablate_world "seeds=[0, 1, 2, 3, 4]" --out outputs/ablate_seeds
      wla ablate ablate_world --help
    """

    recipe: str
    """Name of a bundled recipe, or a .py file with a function config() that returns an Ablation."""
    overrides: tuple[str, ...] = ()
    """Changes to the ablation, as dotted.path=value."""
    out: Path
    """Folder of all runs and of the table."""
    num_envs: int = Field(default=1, ge=1)
    """Environments of the evaluations that run at once, each in a process of its own."""


def train(args: TrainArgs) -> int:
    config = load_recipe(args.recipe)
    from wla.training import Ablation

    if isinstance(config, Ablation):
        raise ValueError(f"{args.recipe} is an ablation; run it with `wla ablate {args.recipe} --out FOLDER`")
    config = config.override(args.overrides)
    if args.print_config:
        print(config.model_dump_json(indent=2))
        return 0
    if not hasattr(config, "loop"):
        raise ValueError(f"{args.recipe}: config() returns a {type(config).__name__}, which nothing trains; see --help")
    # Imported after the configuration is checked and printed, because a mistake in it should not wait for torch.
    from wla import runtime
    from wla.training.saving import output_dir
    from wla.training.sinks import require_installed
    from wla.training.step import micro_batch_range
    from wla.training.trainer import train

    out = args.out or Path("outputs") / Path(args.recipe).stem
    with runtime.process_group(), output_dir(out, resume=args.resume):
        micro_batch_range(config.loop)
        require_installed(config.loop)
        task = runtime.rank_zero_first(config.build)
        checkpoint = train(task, config.loop, out, resume=args.resume, profile=args.profile)
        if runtime.rank() == 0:
            print(f"checkpoint: {checkpoint}")
    return 0


def ablate(args: AblateArgs) -> int:
    config = load_recipe(args.recipe)
    from wla.training import Ablation

    if not isinstance(config, Ablation):
        raise ValueError(
            f"{args.recipe} is not an ablation ({type(config).__name__}); run it with `wla train {args.recipe}`, "
            "or write an ablation of it as the bundled recipe ablate_world does"
        )
    config = config.override(args.overrides)
    from wla.evaluation.comparison import table
    from wla.training.ablation import ablate
    from wla.training.ablation_files import table_path

    print(table(ablate(config, args.out, num_envs=args.num_envs)), end="")
    print(f"table: {table_path(config, args.out)}")
    return 0


TRAIN = {
    "train": Command(TrainArgs, train, positional=("recipe", "overrides"), details=recipe_help),
    "ablate": Command(
        AblateArgs, ablate, positional=("recipe", "overrides"), details=partial(recipe_help, command="ablate")
    ),
}
