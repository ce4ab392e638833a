"""The commands that make sense after a command that has succeeded, with real paths, ready to be pasted."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wla.envs.registry import DEFAULT_FAMILY, load_family
from wla.policy.hub import checkpoint_kind
from wla.presets.names import PRESETS
from wla.presets.recipe import bundled_recipes
from wla.rollout.configs import SCRIPTED, RecordMemoryConfig, is_address
from wla.run_folder import CHECKPOINT, checkpoint_folder

if TYPE_CHECKING:
    from wla.annotate.configs import LabelActionsConfig
    from wla.cli.annotate import AnnotateArgs
    from wla.cli.checkpoints import ConvertCheckpointArgs, ImportArgs
    from wla.cli.collect import CollectArgs
    from wla.cli.compare_runs import CompareRunsArgs
    from wla.cli.data import CheckArgs, ConvertArgs, FromVideosArgs, RobotArgs, StatsArgs
    from wla.cli.doctor import DoctorArgs
    from wla.cli.estimate import EstimateArgs
    from wla.cli.evaluate import DemoArgs, EvalArgs
    from wla.cli.hub import PullArgs
    from wla.cli.init import InitArgs
    from wla.cli.record import RecordArgs
    from wla.cli.run import RunArgs
    from wla.cli.score import ScoreArgs
    from wla.cli.train import AblateArgs, TrainArgs
    from wla.evaluation.configs import OpenLoopConfig, ValueEvalConfig, WorldEvalConfig

Line = list[str]
"""The arguments of a command after ``wla``."""
BUNDLED_ROBOT = "tabletop-gantry"
"""Robot of the bundled policies and recipes for the tabletop."""
FINE_TUNE = ("init.kind=checkpoint", "init.policy=nano-tabletop")
HELD_OUT = Path("datasets/held_out")


def print_next_steps(command: str, args: Any) -> None:
    """Prints what makes sense after a command on standard error, where it is no part of a result."""
    steps = NEXT_STEPS[command](args) if command in NEXT_STEPS else []
    if steps and os.environ.get("RANK", "0") == "0":
        sys.stdout.flush()  # results come first where both streams go into one file
        lines = [f"  {shlex.join(['wla', *line])}" for line in steps]
        print("\n".join(["Next:", *lines]), file=sys.stderr, flush=True)


def line(command: str, *positional: object, **options: object) -> Line:
    """Returns the arguments of a command. Options that are None, False or empty are left out; True is a flag."""
    words = [*command.split(), *map(str, positional)]
    for name, value in options.items():
        values = value if isinstance(value, tuple) else (value,)
        if value is None or value is False or not values:
            continue
        words += [f"--{name.replace('_', '-')}", *(() if value is True else map(str, values))]
    return words


def after_doctor(args: DoctorArgs) -> list[Line]:
    return [line("demo")] if args.part is None else [line("eval random", env=args.name, out="outputs/random")]


def after_demo(args: DemoArgs) -> list[Line]:
    return [line("collect", tasks="place", episodes=400, num_envs=2, out="datasets/place"), line("list")]


def after_collect(args: CollectArgs) -> list[Line]:
    held_out = args.split != "training"
    return [line("data check", args.out), *([_offline("nano-tabletop", args.out)] if held_out else _training(args.out))]


def after_new_dataset(args: ConvertArgs | FromVideosArgs) -> list[Line]:
    return [line("data check", args.out)]


def after_robot(args: RobotArgs) -> list[Line]:
    return [line("data check", args.dataset, **_columns(args.state, args.action))]


def after_check(args: CheckArgs) -> list[Line]:
    columns = _columns(args.state, args.action)
    if not _features(args.dataset) & {"subtask_text", "language_persistent"}:
        page = f"{args.dataset.resolve().name}.html"
        return [line("annotate", args.dataset, rules=True, dry_run=True, html_out=page, **columns)]
    return _training(args.dataset) or [line("data stats", args.dataset, **columns)]


def after_stats(args: StatsArgs) -> list[Line]:
    return _training(*args.datasets) or [line("list recipes")]


def after_annotate(args: AnnotateArgs) -> list[Line]:
    columns = _columns(args.state, args.action)
    source = {"templates": args.templates, "endpoint": args.endpoint, "model": args.model, "csv": args.csv}
    if args.dry_run or args.compare:
        return [line("annotate", args.dataset, rules=args.rules, **source, **columns, replace=args.compare)]
    if args.csv_out is not None and not (args.rules or args.endpoint or args.csv):
        return [line("annotate", args.dataset, csv=args.csv_out, replace=True, **columns)]
    return [line("data check", args.dataset, **columns)]


def after_label_actions(args: LabelActionsConfig) -> list[Line]:
    changes = ("datasets.0.actions=false", f"datasets.0.pseudo_actions={args.out}")
    return [_train(f"datasets={args.dataset}", *changes, out=f"outputs/{args.out.stem}")]


def after_record_memory(args: RecordMemoryConfig) -> list[Line]:
    changes = (f"datasets={args.dataset}", f"datasets.0.memory_replay={args.out}")
    own = ("init.backbone=null", "init.grounding=null")
    return [line("train", "nano_memory", *changes, *own, out=f"outputs/{args.out.stem}")]


def after_init(args: InitArgs) -> list[Line]:
    if args.datasets:
        return [line("train", args.out, out=f"outputs/{args.out.stem}")]
    if args.env is None:
        return [line("list robots")]
    if args.out.is_dir():
        return [line("eval expert", env=args.env, episodes=5, out=f"outputs/{args.env}")]
    return [line("eval", "random", env=args.out, episodes=5, out=f"outputs/{args.out.stem}")]


def after_estimate(args: EstimateArgs) -> list[Line]:
    trains = args.recipe not in PRESETS or args.recipe in bundled_recipes()
    return [line("train", args.recipe, *args.overrides)] if trains else [line("list recipes")]


def after_train(args: TrainArgs) -> list[Line]:
    if args.print_config:
        return [line("train", args.recipe, *args.overrides, out=args.out)]
    out = args.out or Path("outputs") / Path(args.recipe).stem
    return _use(out / CHECKPOINT, out)


def after_ablate(args: AblateArgs) -> list[Line]:
    if any(change.startswith("seeds") for change in args.overrides):
        return [line("list recipes")]
    out = args.out.with_name(f"{args.out.name}_seeds")
    return [line("ablate", args.recipe, *args.overrides, "seeds=0,1,2,3,4", out=out)]


def after_compare_runs(args: CompareRunsArgs) -> list[Line]:
    return [line("report", args.baseline, args.candidate)]


def after_eval(args: EvalArgs) -> list[Line]:
    if args.reproduce is not None:
        return [line("report", args.reproduce if args.reproduce.is_dir() else args.reproduce.parent, args.out)]
    names = {"env": None if args.env == DEFAULT_FAMILY else args.env, "tasks": args.tasks, "setting": args.setting}
    names["protocol"] = args.protocol
    if is_address(args.policy):
        return []  # what comes next needs the checkpoint, which is where it is served
    if args.policy == "expert":
        return [line("collect", **names, out=Path("datasets") / args.out.name)]
    if args.env != DEFAULT_FAMILY:  # no bundled policy is for its robot
        from wla.envs.family import no_expert  # here, because it loads numpy, which help does not need

        if load_family(args.env).make_expert is not no_expert:
            return [line("eval", "expert", **names, out=args.out.with_name("expert"))]
        alone = {"policy": "random", "expert_fraction": 0, "episodes": 10}
        return [line("collect", **names, **alone, out=Path("datasets") / args.out.name)]
    if args.policy in SCRIPTED:
        return [line("eval", "expert", **names, out=args.out.with_name("expert"))]
    recorded = (HELD_OUT / "meta" / "info.json").is_file()
    held_out = {"split": "validation", "seed": 10000, "episodes": 20, "no_perturb": True, "out": HELD_OUT}
    collect = line("collect", tasks=args.tasks, **held_out)
    return [*([] if recorded else [collect]), _offline(args.policy, HELD_OUT)]


def after_run(args: RunArgs) -> list[Line]:
    given = {name: getattr(args, name) for name in ("robot", "robot_config", "instruction") if getattr(args, name)}
    if args.dry_run:
        return [line("run", args.policy, **given, seconds=10)]
    return [line("run", args.policy, **given, chunking="async" if args.chunking == "sync" else "rtc")]


def after_record(args: RecordArgs) -> list[Line]:
    return [line("data check", args.out)]


def after_score(args: ScoreArgs) -> list[Line]:
    return [line("report", args.out)]


def after_eval_offline(args: OpenLoopConfig) -> list[Line]:
    return [line("eval-world", args.policy, dataset=args.dataset, out="outputs/world")]


def after_eval_world(args: WorldEvalConfig) -> list[Line]:
    return [line("eval", args.policy, imagine=True, out="outputs/imagined")]


def after_eval_value(args: ValueEvalConfig) -> list[Line]:
    return [_best_of_n(args.value)]


def after_convert(args: ConvertCheckpointArgs) -> list[Line]:
    return _use(args.out, args.out)


def after_pull(args: PullArgs) -> list[Line]:
    return [line("data check", args.out)] if _features(args.out) else _use(args.out, args.out)


def after_import(args: ImportArgs) -> list[Line]:
    return [line("convert", args.out, dtype="bfloat16", out=args.out.with_name(f"{args.out.name}_bfloat16"))]


def _use(checkpoint: Path, run: Path) -> list[Line]:
    """What a checkpoint is for. run: folder whose name it goes by."""
    folder = checkpoint_folder(checkpoint)
    match checkpoint_kind(folder):
        case "value model":
            return [_best_of_n(checkpoint)]
        case "inverse dynamics model":
            return [line("data label-actions", checkpoint, "--help")]
        case "backbone":
            return [line("train", "nano_tabletop", f"init.backbone={checkpoint}", "init.codec=nano-tabletop")]
        case "image codec":
            return [line("train", "nano_tabletop", f"init.codec={checkpoint}", "init.backbone=nano-base")]
        case "toy language model":
            return [
                line("train", "toy_language_rl", f"start={checkpoint}", out=run.with_name(f"{run.resolve().name}_rl"))
            ]
    several = (folder / "robots.json").is_file()
    if several or _robot(folder / "robot.json") not in (BUNDLED_ROBOT, None):
        trained = _json(folder / "training_data.json").get("datasets") or [{}]
        if "path" in trained[0]:
            out = Path("outputs") / f"{run.resolve().name}_offline"
            return [line("eval-offline", run, dataset=trained[0]["path"], out=out)]
        return [line("eval", checkpoint, "--help")]
    return [line("eval", checkpoint, num_envs=2, out=Path("outputs") / f"{run.resolve().name}_eval")]


def _training(*datasets: Path) -> list[Line]:
    """A training on datasets of the bundled policies' robot, a recipe for a dataset of another one; else nothing."""
    robots = [_robot(folder / "meta" / "wla_robot.json") for folder in datasets]
    if len(robots) == 1 and robots[0] not in (BUNDLED_ROBOT, None):
        return [line("init", datasets[0], out=f"{datasets[0].resolve().name}.py")]
    if not all(robot == BUNDLED_ROBOT for robot in robots):
        return []
    return [_train(f"datasets={','.join(map(str, datasets))}", out=f"outputs/{datasets[0].resolve().name}")]


def _train(*changes: str, out: str) -> Line:
    return line("train", "nano_tabletop", *FINE_TUNE, *changes, out=out)


def _offline(policy: str, dataset: Path) -> Line:
    return line("eval-offline", policy, dataset=dataset)


def _best_of_n(value: str | Path) -> Line:
    best = {"num_candidates": 2, "memory_reset_candidates": True, "selection_margin": 0.3, "value": value}
    return line("eval", "nano-memory", **best, out="outputs/best_of_2")


def _columns(state: tuple[str, ...], action: tuple[str, ...]) -> dict[str, object]:
    """Options for columns that are not called as usual."""
    usual = {"state": ("observation.state",), "action": ("action",)}
    return {name: value for name, value in {"state": state, "action": action}.items() if value != usual[name]}


def _robot(path: Path) -> str | None:
    """The embodiment in the file of a robot; None without such a file."""
    return _json(path).get("embodiment")


def _features(dataset: Path) -> set[str]:
    return set(_json(dataset / "meta" / "info.json").get("features", ()))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}  # what follows from the file is a suggestion only


NEXT_STEPS: dict[str, Callable[[Any], Sequence[Line]]] = {
    "doctor": after_doctor,
    "demo": after_demo,
    "collect": after_collect,
    "data convert": after_new_dataset,
    "data from-videos": after_new_dataset,
    "data check": after_check,
    "data stats": after_stats,
    "data robot": after_robot,
    "data label-actions": after_label_actions,
    "annotate": after_annotate,
    "estimate": after_estimate,
    "init": after_init,
    "train": after_train,
    "ablate": after_ablate,
    "eval": after_eval,
    "compare-runs": after_compare_runs,
    "run": after_run,
    "record": after_record,
    "score": after_score,
    "eval-offline": after_eval_offline,
    "eval-world": after_eval_world,
    "eval-value": after_eval_value,
    "record-memory": after_record_memory,
    "push": lambda args: [line("pull", args.target, out=Path("pulled") / args.target.rpartition("/")[2])],
    "pull": after_pull,
    "convert": after_convert,
    "import": after_import,
}
"""Command -> the commands after it, from its arguments."""
