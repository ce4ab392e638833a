"""`wla run`: a policy on a robot, simulated or real."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from wla.cli.command import Command
from wla.cli.names import require_path
from wla.control.runner_config import RunnerConfig
from wla.policy.hub import find
from wla.policy.inference_options import InferenceOptions
from wla.rollout.configs import is_address

if TYPE_CHECKING:
    from wla.control import AsyncRunner, Operator, RunListener, RunReport
    from wla.robots import Robot
    from wla.types import Policy

    StopSource = Callable[[Callable[[str], None]], AbstractContextManager[None]]


class RunArgs(InferenceOptions, RunnerConfig):
    """Drive a robot with a policy, in real time.

    The control loop keeps its rate while the next chunk is computed, here or on a server. Every action passes through
    the robot's safety limits; without a fresh action the robot holds. In a terminal any key is an emergency stop: the
    robot brakes within its limits, and the run ends. Ctrl-C stops the robot at once and lets it go.
    docs/guides/real_robot.md: limits, emergency stop, first motion.

    examples:
      wla run nano-tabletop --robot tabletop:place
      wla run ws://127.0.0.1:8000 --robot tabletop:press --seconds 20
      wla run my_run --robot lerobot:so101_follower --robot-config my_arm.toml --instruction "fold the towel" --dry-run
      wla run my_run --robot lerobot:so101_follower --robot-config my_arm.toml --instruction "fold the towel"
    """

    policy: str
    """A checkpoint (folder, bundled name or hub id), or a server: ws://HOST:PORT."""
    robot: str
    """A simulated robot (FAMILY:TASK, such as tabletop:place), lerobot:NAME, or the robot of another package."""
    robot_config: Path | None = None
    """TOML file of a robot of LeRobot: its port and cameras, units and limits."""
    instruction: str = ""
    """What the robot shall do; a simulated task has its own."""
    seconds: float = Field(default=30.0, gt=0, le=86_400)
    """Time of motion. A simulated task ends earlier when it is decided."""
    dry_run: bool = False
    """Compute everything and move nothing: prints what would have been sent."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the policy's noise, and of a simulated scene."""
    policy_robot: str | None = None
    """Robot that the policy acts for, of a policy for several."""
    device: str | None = None
    """Device of the policy (cuda, cpu); chosen by the policy when left out."""


def run(args: RunArgs) -> int:
    check(args)
    policy = load(args)
    from wla.control.stop_key import has_keys, stop_key

    how = "any key stops it, Ctrl-C too" if has_keys(sys.stdin) else "Ctrl-C stops"
    report, _ = drive(args, policy, open_named(args, policy), stops=(stop_key,), how=how)
    if report.ending == "interrupted":
        raise KeyboardInterrupt("the robot was stopped")
    return 1 if report.ending in ("error", "stopped") else 0


def check(args: RunArgs) -> None:
    """Checks all that was named. ValueError before anything is loaded."""
    from wla.control.open_robot import require_robot

    require_robot(args.robot, args.robot_config)
    if args.robot_config is not None:
        require_path(args.robot_config, "file")
    if not is_address(args.policy):
        find(args.policy)


def load(args: RunArgs) -> Policy[Any]:
    """The policy. ValueError for one of whose robot something is unknown."""
    policy: Policy[Any]
    if is_address(args.policy):
        args.require_here(args.policy)
        from wla.serving.client import RemotePolicy

        policy = RemotePolicy(args.policy)
    else:
        from wla.policy.wla_policy import load_policy

        policy = load_policy(
            args.policy,
            device=args.device,
            robot=args.policy_robot,
            **args.inference,
        )
    policy.robot_spec.require_known(args.policy)
    return policy


def open_named(args: RunArgs, policy: Policy[Any]) -> Robot:
    """The robot that the arguments name, not connected."""
    from wla.control.open_robot import open_robot

    return open_robot(args.robot, policy.robot_spec, settings=args.robot_config, seed=args.seed)


def drive(
    args: RunArgs,
    policy: Policy[Any],
    robot: Robot,
    *,
    operator: Operator | None = None,
    listener: RunListener | None = None,
    stops: Sequence[StopSource] = (),
    how: str = "Ctrl-C stops",
) -> tuple[RunReport, str]:
    """Runs the policy on the robot and prints how it went. Returns that, and the instruction.

    stops: contexts in which something else than the policy may stop the robot. how: a person stops it, in words.
    ValueError where neither the arguments nor the robot state an instruction.
    """
    from wla.cli.run_summary import print_summary
    from wla.control import AsyncRunner, SimulatedRobot
    from wla.control.dry_run import DryRun

    simulated = robot if isinstance(robot, SimulatedRobot) else None
    if simulated is not None:
        simulated.connect()
    instruction = args.instruction or ("" if simulated is None else simulated.instruction)
    if not instruction.strip():
        raise ValueError(f"--instruction is missing: what shall {args.robot} do?")
    body = DryRun(robot) if args.dry_run else robot
    config = RunnerConfig.model_validate({name: getattr(args, name) for name in RunnerConfig.model_fields})
    runner = AsyncRunner(policy, body, config, operator=operator, listener=listener)
    print(f"{args.policy} drives {args.robot}: {instruction} ({how})", flush=True)
    with ExitStack() as contexts:
        if is_address(args.policy):
            contexts.enter_context(_watched(policy, runner))
        for source in stops:
            contexts.enter_context(source(runner.stop))
        report = runner.run(
            instruction,
            seconds=args.seconds,
            seed=args.seed,
            done=lambda: simulated is not None and simulated.outcome is not None,
        )
    print_summary(report, body)
    return report, instruction


def _watched(policy: Policy[Any], runner: AsyncRunner) -> AbstractContextManager[None]:
    """Context in which those who watch a served policy see the limits in force, and stop the robot."""
    from wla.serving.client import RemotePolicy
    from wla.serving.watch.remote_stops import remote_stops

    assert isinstance(policy, RemotePolicy), "served"
    policy.action_limits = runner.safety.action_limits
    return remote_stops(policy, runner.stop)


RUN = {"run": Command(RunArgs, run, positional=("policy",))}
