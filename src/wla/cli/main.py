"""`wla COMMAND ...`: the commands around training and evaluating; the others have modules of their own."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field
from tyro.conf import Positional

from wla.cli.annotate import ANNOTATE
from wla.cli.checkpoints import CHECKPOINTS
from wla.cli.command import CliArgs, Command, Group, UsageError, format_commands
from wla.cli.data import DATA
from wla.cli.estimate import ESTIMATE
from wla.evaluation.configs import EvalConfig, OpenLoopConfig, ValueEvalConfig, WorldEvalConfig
from wla.presets.recipe import load_recipe
from wla.process_pool import share_cores
from wla.rollout.configs import CollectConfig, RecordMemoryConfig

HELP = """usage: wla COMMAND [options]

World-language-action robot policies: collect, train, evaluate.

A round on a laptop:

  wla doctor                                               what this machine lacks
  wla demo                                                 the bundled policy at work
  wla collect --tasks place --episodes 400 --out datasets/place
  wla data check datasets/place                            every problem of a dataset, before training
  wla train nano_tabletop                       writes a checkpoint
  wla eval CHECKPOINT --tasks place --out outputs/place    rates, videos, report.html

Commands (`wla COMMAND --help` shows options and examples):

{commands}

A mistake prints one line and exits with 2; --traceback (or WLA_TRACEBACK=1) shows where it came from.
"""


class EvalArgs(CliArgs, EvalConfig):
    """Run a policy in closed loop and write success rates with their uncertainty.

    OUT gets results.jsonl (a line per episode, as they finish), summary.json and report.html. The same command again
    goes on where it stopped. Crashes are errors: no rate counts them, they are listed apart and the exit code is 1.

    examples:
      wla eval expert --tasks place stack --episodes 50 --out outputs/expert
      wla eval my_run/checkpoint --setting clean randomized --seed 200000 --num-envs 8 --out outputs/my_run
      wla eval my_run/checkpoint --tasks place --replan-steps 4 --imagine --out outputs/imagined
      wla eval nano-memory --num-candidates 2 --memory-reset-candidates --selection-margin 0.3 --value nano-value --out outputs/weighed
    """

    policy: Positional[str]
    """A checkpoint (folder, bundled name or hub id), or one of: expert, random, zero."""
    out: Path
    """Folder of the results."""


class EvalOfflineArgs(CliArgs, OpenLoopConfig):
    """Compare a policy's words, images and actions with recorded episodes that it was not trained on.

    examples:
      wla collect --split validation --seed 10000 --episodes 20 --no-perturb --out datasets/held_out
      wla eval-offline nano-tabletop --dataset datasets/held_out
    """

    policy: Positional[str]
    """A checkpoint: folder, bundled name or hub id."""


class EvalWorldArgs(CliArgs, WorldEvalConfig):
    """Measure what a policy imagines on recorded episodes that it was not trained on.

    PSNR, SSIM and a distance on the codec's features, on all pixels and on those that changed, beside those of the
    present frame (to beat) and of the frame that came through the codec (the best possible). OUT gets world.json and
    world.html: now, imagined, what came, the difference.

    examples:
      wla eval-world nano-tabletop --dataset datasets/held_out --out outputs/world
      wla eval-world nano-tabletop --dataset datasets/held_out --samples 8 --flow-steps 30 8 4 --out outputs/world_steps
    """

    policy: Positional[str]
    """A checkpoint: folder, bundled name or hub id."""
    out: Path
    """Folder of the results."""


class EvalValueArgs(CliArgs, ValueEvalConfig):
    """Measure whether a value model's scores can be trusted, on rollouts that it was not trained on.

    Calibration (value.png), rank correlation with what the frames were worth in the end, and how well it tells episodes
    that succeed from those that fail. OUT gets value.json and value.png.

    examples:
      wla eval-value outputs/nano_value/checkpoint --datasets datasets/rollouts_held_out --out outputs/value
    """

    value: Positional[str]
    """A value model: folder, bundled name or hub id."""
    out: Path
    """Folder of the results."""


class RecordMemoryArgs(CliArgs, RecordMemoryConfig):
    """Let a policy act on recorded frames and keep what it remembers there, its own errors included, to train on.

    examples:
      wla record-memory outputs/nano_memory/checkpoint --dataset datasets/nano_memory --out datasets/nano_memory.parquet
    """

    policy: Positional[str]
    """A checkpoint that says subtasks: folder, bundled name or hub id."""


class ConvertCheckpointArgs(CliArgs):
    """Copy a checkpoint with its weights in half precision, for shipping. They still compute in full precision.

    examples:
      wla convert outputs/nano_tabletop/checkpoint --out nano-tabletop
      wla convert outputs/nano_base/checkpoint --out nano-base
      wla convert outputs/nano_value/checkpoint --out nano-value
    """

    checkpoint: Positional[Path]
    """Folder of the checkpoint of a policy, a backbone, a codec or a value model."""
    dtype: Literal["float16", "bfloat16"] = "float16"
    """Precision of the stored weights; those that are in bfloat16 already stay so."""
    out: Path
    """Folder of the copy."""


class CollectArgs(CliArgs, CollectConfig):
    """Record the scripted expert as a LeRobot v3.0 dataset.

    Only successes are kept. With --policy a checkpoint and the expert act in turns, and every step records what the
    expert would do there: data for the places that the policy gets to, failures included. Ctrl-C keeps finished
    episodes, and the same command again goes on where it stopped.

    examples:
      wla collect --tasks place stack --episodes 400 --num-envs 8 --out datasets/tabletop
      wla collect --tasks place --setting clean randomized --seed 400 --out datasets/more
      wla collect --tasks place --policy outputs/nano_tabletop/checkpoint --out datasets/corrections
      wla collect --tasks push_back --embodiment scara --no-actions --no-perturb --out datasets/video
    """

    out: Path
    """Folder of the dataset."""


class TrainArgs(BaseModel):
    """Train what a recipe describes. Ctrl-C saves, and --resume goes on from there bit for bit.

    examples:
      wla train nano_tabletop
      wla train nano_tabletop loop.batch_size=32 loop.optim.steps=200 --out outputs/short
      wla train nano_tabletop --print-config
      wla train nano_tabletop --resume
      torchrun --nproc-per-node 2 -m wla train nano_tabletop loop.micro_batches=2
    """

    recipe: Positional[str]
    """Name of a bundled recipe, or a .py file with a function config() that returns what to train."""
    overrides: Positional[tuple[str, ...]] = ()
    """Changes to the recipe, as dotted.path=value."""
    out: Path | None = None
    """Folder of the run; outputs/NAME_OF_THE_RECIPE when left out."""
    resume: bool = False
    """Go on with the run in that folder."""
    print_config: bool = False
    """Print the configuration with the changes made, and train nothing."""


class AblateArgs(CliArgs):
    """Train and evaluate variants of a recipe alike, and write one table: rates, intervals, paired differences.

    Equal data, steps, seeds and evaluation episodes. Ctrl-C saves; the same command goes on.

    examples:
      wla ablate ablate_world --out outputs/ablate_world
    """

    recipe: Positional[str]
    """Name of a bundled recipe, or a .py file with a function config() that returns an Ablation."""
    out: Path
    """Folder of all runs and of the table."""
    num_envs: int = Field(default=1, ge=1)
    """Environments of the evaluations that run at once, each in a process of its own."""


class DemoArgs(CliArgs):
    """Run the bundled policy on each task of the simulator and write a report to look at.

    examples:
      wla demo
      wla demo --policy outputs/nano_tabletop/checkpoint --episodes 5
    """

    policy: str = "nano-tabletop"
    """A checkpoint: folder, bundled name or hub id."""
    episodes: int = Field(default=2, ge=1)
    """Episodes per task."""
    num_envs: int = Field(default=8, ge=1)
    """Environments that run at once, each in a process of its own."""


class DoctorArgs(BaseModel):
    """Say what this machine lacks and which command gets it. Exits with 1 when something is missing.

    examples:
      wla doctor
      wla doctor --fix
    """

    fix: bool = False
    """Also install the GL library, where that is allowed."""


def evaluate(args: EvalArgs) -> int:
    share_cores(args.num_envs)
    from wla.evaluation.benchmark import run_benchmark
    from wla.evaluation.report import write_report

    try:
        summary = run_benchmark(args, args.out)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"finished episodes are in {args.out}; the same command goes on") from stop
    for (variant, rate), subtask_metrics in zip(summary.variants, summary.subtask_metrics, strict=True):
        print(f"{variant.task} {variant.setting} {variant.embodiment}: {rate}")
        if subtask_metrics:
            print(f"  words: {subtask_metrics}")
    print(f"all: {summary.total}")
    print(f"report: {write_report(args.out)}")
    return 1 if summary.total.errors else 0


def eval_offline(args: EvalOfflineArgs) -> int:
    from wla.evaluation.open_loop import evaluate_open_loop

    print(evaluate_open_loop(args).model_dump_json(indent=2))
    return 0


def eval_world(args: EvalWorldArgs) -> int:
    from wla.evaluation.world_model import REPORT_FILE, evaluate_world, table

    print(table(evaluate_world(args, args.out)))
    print(f"images: {args.out / REPORT_FILE}")
    return 0


def eval_value(args: EvalValueArgs) -> int:
    from wla.evaluation.value_model import PLOT, evaluate_value

    print(evaluate_value(args, args.out).model_dump_json(indent=2))
    print(f"calibration: {args.out / PLOT}")
    return 0


def convert(args: ConvertCheckpointArgs) -> int:
    from wla.policy.checkpoint import convert_checkpoint

    convert_checkpoint(args.checkpoint, args.out, args.dtype)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.1f} MB")
    return 0


def demo(args: DemoArgs) -> int:
    out = Path("outputs/demo")
    if out.exists():
        shutil.rmtree(out)  # a demo is run anew each time, where an evaluation would go on
    asked = EvalArgs(
        policy=args.policy, episodes=args.episodes, num_envs=args.num_envs, imagine=True, max_videos=3, out=out
    )
    code = evaluate(asked)
    print(f"Open {out / 'report.html'} in a browser: videos, what the policy said, what it imagined.")
    return code


def collect(args: CollectArgs) -> int:
    share_cores(args.num_envs)
    from wla.rollout.collect import collect

    try:
        counts = collect(args, args.out)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"finished episodes are in {args.out}; the same command goes on") from stop
    print(
        f"{args.out}: {counts['success']} successes, {counts['failure']} failures "
        f"{'dropped' if args.policy is None else 'kept'}, {counts['error']} errors"
    )
    return 1 if counts["error"] else 0


def record_memory(args: RecordMemoryArgs) -> int:
    from wla.rollout.memory_replay import record_memory

    print(f"{args.out}: what was remembered at {len(record_memory(args).frames)} frames")
    return 0


def train(args: TrainArgs) -> int:
    from wla import runtime
    from wla.training.trainer import micro_batch_range, require_output_dir, train

    config = load_recipe(args.recipe).override(args.overrides)
    if args.print_config:
        print(config.model_dump_json(indent=2))
        return 0
    out = args.out or Path("outputs") / Path(args.recipe).stem
    with runtime.process_group():
        runtime.on_rank_zero(lambda: require_output_dir(out, resume=args.resume))
        micro_batch_range(config.loop)
        task = runtime.rank_zero_first(config.build)
        checkpoint = train(task, config.loop, out, resume=args.resume)
        if runtime.rank() == 0:
            print(f"checkpoint: {checkpoint}")
    return 0


def ablate(args: AblateArgs) -> int:
    from wla.training.ablation import TABLE, Ablation, ablate, table

    config = load_recipe(args.recipe)
    if not isinstance(config, Ablation):
        raise ValueError(f"{args.recipe} is no ablation ({type(config).__name__}); see the bundled recipe ablate_world")
    print(table(ablate(config, args.out, num_envs=args.num_envs)), end="")
    print(f"table: {args.out / TABLE}")
    return 0


def doctor(args: DoctorArgs) -> int:
    from wla import doctor

    return doctor.run(args.fix)


COMMANDS: dict[str, Command | Group] = {
    "doctor": Command(DoctorArgs, doctor),
    "demo": Command(DemoArgs, demo),
    "collect": Command(CollectArgs, collect),
    "data": DATA,
    **ANNOTATE,
    **ESTIMATE,
    "train": Command(TrainArgs, train),
    "ablate": Command(AblateArgs, ablate),
    "eval": Command(EvalArgs, evaluate),
    "eval-offline": Command(EvalOfflineArgs, eval_offline),
    "eval-world": Command(EvalWorldArgs, eval_world),
    "eval-value": Command(EvalValueArgs, eval_value),
    "record-memory": Command(RecordMemoryArgs, record_memory),
    "convert": Command(ConvertCheckpointArgs, convert),
    **CHECKPOINTS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 2 for a mistake of the user, 130 for Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    trace = bool(os.environ.get("WLA_TRACEBACK")) or "--traceback" in args
    args = [word for word in args if word != "--traceback"]
    try:
        return _dispatch(args)
    except KeyboardInterrupt as stop:
        _print_error(f"interrupted: {stop}" if str(stop) else "interrupted", trace)
        return 130
    except (UsageError, ValueError, OSError, ModuleNotFoundError) as error:
        _print_error(f"error: {' '.join(str(error).split()) or type(error).__name__}", trace)
        return 2


def _dispatch(args: Sequence[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(HELP.format(commands=format_commands(COMMANDS)), end="")
        return 0 if args else 2
    if args[0] == "--version":
        from wla import __version__

        print(__version__)
        return 0
    name, *rest = args
    if name not in COMMANDS:
        raise ValueError(f"no command {name!r}; there are {', '.join(COMMANDS)} (see wla --help)")
    return COMMANDS[name].call(name, rest)


def _print_error(line: str, trace: bool) -> None:
    if trace:
        traceback.print_exc()
    print(f"wla: {line}", file=sys.stderr)
