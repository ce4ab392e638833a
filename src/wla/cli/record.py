"""`wla record`: runs on a robot as a dataset, with what a person corrected."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from wla.cli.command import Command
from wla.cli.run import RunArgs, check, drive, load, open_named

if TYPE_CHECKING:
    from wla.control import Operator, RunReport
    from wla.control.operators import Lines
    from wla.control.run_recorder import RunRecorder
    from wla.specs import RobotSpec
    from wla.types import Policy

DISCARD = "d"


class RecordArgs(RunArgs):
    """Record runs on a robot as a LeRobot dataset: images, state, executed actions, subtasks, and who acted.

    With --operator a person can take over: Enter hands the robot over, Enter again gives it back. The frames of the
    person are marked (column intervention), and a recipe can train on these alone (datasets.0.interventions=only). Each
    episode is on the disk when it has ended; the same command records more. On a terminal you are asked how each went.

    examples:
      wla record nano-tabletop --robot tabletop:place --operator expert --episodes 5 --out datasets/corrected
      wla record ws://127.0.0.1:8000 --robot lerobot:so101_follower --robot-config my_arm.toml \\
          --instruction "fold the towel" --operator lerobot:so101_leader --episodes 20 --out datasets/towel
    """

    out: Path
    """Folder of the dataset."""
    episodes: int = Field(default=1, ge=1)
    """Episodes to record."""
    operator: str | None = None
    """Device of the person: lerobot:NAME (stated in the [operator] of --robot-config), or expert, the scripted one of a
    simulated robot."""


def record(args: RecordArgs) -> int:
    if args.dry_run or args.rate is not None:
        raise ValueError("wla record: takes neither --dry-run nor --rate; a dataset has the rate of its robot")
    check(args)
    policy = load(args)
    _require_memory(args.seconds, policy.robot_spec)
    from wla.control.operators import Lines
    from wla.control.run_recorder import RunRecorder
    from wla.data.lerobot.writer import DatasetWriter

    lines = Lines() if args.operator is not None or sys.stdin.isatty() else None
    # One shard per episode: whatever happens to this process, the episodes so far are on the disk.
    with DatasetWriter(args.out, policy.robot_spec, with_interventions=True, shard_frames=1) as writer:
        recorder = RunRecorder(writer)
        kept = 0
        for number in range(args.episodes):
            if number and lines is not None and sys.stdin.isatty():
                print(f"episode {number + 1} of {args.episodes}: Enter begins it", flush=True)
                lines.wait()
            episode = args.model_copy(update={"seed": args.seed + writer.total_episodes})
            report = _episode(episode, policy, recorder, lines)
            kept += report.ending in ("time", "done")
            if report.ending == "interrupted":
                raise KeyboardInterrupt(
                    f"{args.out} has {writer.total_episodes} episodes; the same command records more"
                )
            if report.ending in ("error", "stopped"):
                break
        print(f"{args.out}: {writer.total_episodes} episodes, {kept} of them new")
    return 1 if report.ending in ("error", "stopped") else 0


def _require_memory(seconds: float, spec: RobotSpec) -> None:
    """ValueError where the images of an episode, which are encoded when it has ended, do not fit into memory."""
    import psutil

    pixels = sum(height * width for height, width in spec.observation.cameras.values())
    needed, free = 3 * pixels * seconds * spec.action.rate_hz, psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"--seconds {seconds:g}: an episode of that length has {needed / 1e9:.1f} GB of images, and "
            f"{free / 1e9:.1f} GB of memory are free; record shorter ones"
        )


def _episode(args: RecordArgs, policy: Policy[Any], recorder: RunRecorder, lines: Lines | None) -> RunReport:
    from wla.control import SimulatedRobot
    from wla.control.operators import SwitchedOperator, open_device

    robot = open_named(args, policy)
    with ExitStack() as devices:
        operator: Operator | None = None
        if args.operator is not None:
            assert lines is not None, "they are read where there is an operator"
            family = args.robot.partition(":")[0]
            device = devices.enter_context(open_device(args.operator, robot, family, args.robot_config))
            operator = SwitchedOperator(device, lines)
        report, instruction = drive(args, policy, robot, operator=operator, listener=recorder)
    ended = report.ending in ("time", "done")
    outcome = robot.outcome if isinstance(robot, SimulatedRobot) else None
    success = None if outcome is None else outcome == "success"
    answer = _ask(lines) if ended and outcome is None and lines is not None and sys.stdin.isatty() else ""
    if answer[:1] in ("y", "n"):
        success = answer[0] == "y"
    recorder.end(instruction, keep=ended and answer != DISCARD, seed=args.seed, success=success)
    return report


def _ask(lines: Lines) -> str:
    """The person's word on an episode."""
    print(f"did it succeed? y, n, {DISCARD} to discard it, or Enter if you cannot tell", flush=True)
    return (lines.wait() or "").lower()


RECORD = {"record": Command(RecordArgs, record, positional=("policy",))}
