"""`wla eval`, `wla eval-offline`, `wla eval-world`, `wla eval-value`, `wla demo`: rates and errors."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from pydantic import Field

from wla.cli.command import CliArgs, Command
from wla.cli.names import find_dataset, require_environment, require_path, require_policy
from wla.evaluation.configs import EvalConfig, OpenLoopConfig, ValueEvalConfig, WorldEvalConfig
from wla.files import disk_errors
from wla.policy.hub import find
from wla.rollout.configs import EngineConfig, is_address

DEMO_FOLDER = Path("outputs/demo")
MAY_DIFFER = frozenset(
    {"policy", "value", "goal", "device", "fast", "trust_code", "max_videos", *EngineConfig.model_fields}
)
"""Options that a reproduction may have another value of: where things lie, and how fast they run."""


class EvalArgs(EvalConfig):
    """Run a policy in closed loop and write success rates with their uncertainty.

    OUT gets results.jsonl (a line per episode, as they finish), summary.json and report.html. The same command again
    resumes where it stopped. Crashes are errors: no rate counts them, they are listed separately, and the exit code
    is 1.

    With --reproduce, everything else comes from summary.json: the episodes run again, on a checkpoint with the same
    sha256, and are compared one by one. The exit code is 1 where one ends otherwise.

    examples:
      wla eval expert --tasks place stack --episodes 50 --out outputs/expert
      wla eval my_run/checkpoint --setting clean randomized --seed 200000 --num-envs 8 --out outputs/my_run
      wla eval my_run/checkpoint --tasks place --replan-steps 4 --imagine --out outputs/imagined
      wla eval nano-memory --num-candidates 2 --memory-reset-candidates --selection-margin 0.3 --value nano-value \\
          --out outputs/best_of_2
      wla eval nano-memory --tasks press_count --fast --flow-steps 4 --out outputs/fast
      wla eval --reproduce outputs/my_run/summary.json --out outputs/again
    """

    policy: str = ""
    """A checkpoint (folder, bundled name or hub id), or one of: expert, random, zero. With --reproduce: where the
    checkpoint lies, unless it is where it was."""
    reproduce: Path | None = None
    """The summary.json of an evaluation, to run it again and compare."""
    out: Path
    """Folder of the results."""


class EvalOfflineArgs(OpenLoopConfig):
    """Compare a policy's subtasks, images and actions with recorded episodes that it was not trained on.

    The episodes are replayed: the policy sees every recorded frame and is called as often as when it acts, with the
    memory of its own predictions. Episodes that it was trained on are left out, where its checkpoint states them.
    Actions are compared over whole chunks, per dimension, with two baselines: holding still and the mean action. With
    --out they are printed as a table, and OUT gets offline.json, drawings and a page, offline.html, with prompts and
    images of calls; without it the JSON is printed. What the dataset or the policy lacks is null there, with the reason
    in not_measured.

    examples:
      wla eval-offline run --dataset mine --out offline
      wla collect --split validation --seed 10000 --episodes 20 --no-perturb --out datasets/held_out
      wla eval-offline nano-tabletop --dataset datasets/held_out
    """

    out: Path | None = None
    """Folder of metrics and drawings."""


class EvalWorldArgs(WorldEvalConfig):
    """Measure the images that a policy imagines, on recorded episodes that it was not trained on.

    PSNR, SSIM and a distance on the codec's features, on all pixels and on those that changed, beside two references:
    the current frame (to beat) and the future frame encoded and decoded by the codec (the best possible). Policies that
    imagine what actions lead to also get the chunk of another frame: do their images follow the actions? OUT gets
    world.json and world.html: current frame, imagined frame, ground truth, difference.

    examples:
      wla eval-world nano-tabletop --dataset datasets/held_out --out outputs/world
      wla eval-world nano-tabletop --dataset datasets/held_out --samples 8 --flow-steps 30 8 4 --out outputs/world_steps
    """

    out: Path
    """Folder of the results."""


class EvalValueArgs(ValueEvalConfig):
    """Measure how far a value model's scores can be trusted, on rollouts that it was not trained on.

    Calibration (value.png), rank correlation with the frames' true values, and how well it separates episodes that
    succeed from those that fail. OUT gets value.json and value.png.

    examples:
      wla eval-value outputs/nano_value/checkpoint --datasets datasets/rollouts_held_out --out outputs/value
    """

    out: Path
    """Folder of the results."""


class DemoArgs(CliArgs):
    """Run the bundled policy on each task of the simulator and write an HTML report.

    It goes into outputs/demo, or into outputs/demo-2 and so on where that is there already.

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


def evaluate(args: EvalArgs) -> int:
    if args.reproduce is not None:
        return _reproduce(args, args.reproduce)
    if not args.policy:
        raise ValueError("POLICY is missing (see wla eval --help)")
    _check(args)
    from wla.cli.evaluation_table import print_summary
    from wla.evaluation.benchmark import run_benchmark
    from wla.evaluation.report import write_report

    try:
        summary = run_benchmark(args, args.out)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"finished episodes are in {args.out}; the same command continues") from stop
    print_summary(summary)
    print(f"report: {write_report(args.out)}")
    return 1 if summary.total.errors else 0


def _reproduce(args: EvalArgs, source: Path) -> int:
    fixed = args.model_fields_set - MAY_DIFFER - {"out", "reproduce"}
    if fixed:
        raise ValueError(f"--{min(fixed).replace('_', '-')}: --reproduce takes it from {source}; leave it out")
    from wla.cli.compare_runs import print_reproduction
    from wla.evaluation.recorded_run import read_recorded
    from wla.evaluation.report import write_report
    from wla.evaluation.reproduce import reproduce

    recorded = read_recorded(source)
    changes = {name: getattr(args, name) for name in args.model_fields_set & MAY_DIFFER}
    policy = changes.get("policy", recorded.reproduction.config.policy)
    try:
        if not is_address(policy):
            require_policy(policy)
    except ValueError as error:
        raise ValueError(f"{error}; or give it: wla eval CHECKPOINT --reproduce {source}") from error
    found = reproduce(source, recorded, args.out, **changes)
    print_reproduction(found)
    print(f"report: {write_report(args.out)}")
    return 1 if found.differing else 0


def _check(args: EvalArgs) -> None:
    """Checks all that was named. ValueError before anything is loaded; whether a server answers is seen then."""
    if not is_address(args.policy):
        require_policy(args.policy)
    require_environment(args)
    _ = args.best_of_n  # checks that its options go together
    if args.value is not None:
        find(args.value, "value model")
    if args.goal is not None:
        require_path(Path(args.goal), "image")


def eval_offline(args: EvalOfflineArgs) -> int:
    require_policy(args.policy)
    args = args.replace(dataset=find_dataset(args.dataset))
    from wla.evaluation.open_loop import evaluate_open_loop

    metrics = evaluate_open_loop(args, args.out)
    if args.out is None:
        print(metrics.to_json())
        return 0
    from wla.evaluation.open_loop_report import PAGE
    from wla.evaluation.open_loop_summary import summary

    print(summary(metrics))
    print(f"page: {args.out / PAGE}")
    return 0


def eval_world(args: EvalWorldArgs) -> int:
    find(args.policy)
    args = args.replace(dataset=find_dataset(args.dataset))
    from wla.evaluation.world_metrics import table
    from wla.evaluation.world_model import evaluate_world
    from wla.evaluation.world_report import REPORT_FILE

    print(table(evaluate_world(args, args.out)))
    print(f"images: {args.out / REPORT_FILE}")
    return 0


def eval_value(args: EvalValueArgs) -> int:
    find(args.value, "value model")
    from wla.data.hub_snapshots import dataset_folder

    for name in args.datasets:
        require_path(dataset_folder(name), "dataset")
    from wla.evaluation.value_model import PLOT, evaluate_value

    print(evaluate_value(args, args.out).model_dump_json(indent=2))
    print(f"calibration: {args.out / PLOT}")
    return 0


def demo(args: DemoArgs) -> int:
    find(args.policy)
    from wla.evaluation.benchmark import run_benchmark
    from wla.evaluation.report import write_report

    config = EvalConfig(policy=args.policy, episodes=args.episodes, num_envs=args.num_envs, imagine=True, max_videos=3)
    out = _new_folder(DEMO_FOLDER)
    summary = run_benchmark(config, out)
    print(f"policy: {args.policy}, in the bundled simulator")
    print(f"tasks: {', '.join(f'{each.task} {rate.successes} of {rate.n}' for each, rate in summary.variants)}")
    print(f"success rate: {summary.total}")
    print(f"report: {write_report(out)}")
    print("Open it in a browser: videos with the predicted subtasks and the images that the policy imagined.")
    return 1 if summary.total.errors else 0


def _new_folder(path: Path) -> Path:
    """Makes and returns a folder that nobody had: `path` or, with a number, one beside it."""
    with disk_errors(path, "run it in a folder of yours"):
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    raise AssertionError("numbers do not end")


DEMO = {"demo": Command(DemoArgs, demo)}
EVALUATE = {
    "eval": Command(EvalArgs, evaluate, positional=("policy",)),
    "eval-offline": Command(EvalOfflineArgs, eval_offline, positional=("policy",)),
    "eval-world": Command(EvalWorldArgs, eval_world, positional=("policy",)),
    "eval-value": Command(EvalValueArgs, eval_value, positional=("value",)),
}
