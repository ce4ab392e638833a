"""`wla doctor`: what this machine lacks; `wla doctor env`: where an environment differs from its recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wla.cli.command import CliArgs, Command

if TYPE_CHECKING:
    from wla.doctor.finding import Finding

MARKS = {True: "ok", False: "WRONG", None: "-"}


class DoctorArgs(CliArgs):
    """List what this machine lacks, or where an environment differs from its recordings. Exits with 1 where it does.

    Without arguments: what is missing on this machine, with the command that installs it.

    With `env NAME`: an environment (a family, a mapping file or a gymnasium id) is compared with recorded episodes of
    it, whose actions are replayed; without a dataset an expert acts, and it is compared with what it states of itself.
    A line each for: images (upright, not mirrored), seeds, order, unit and source of the state, the sign of
    quaternions, what each action moves, the gripper, statistics, success. With --policy also whether what was shown
    lies in the range that the checkpoint normalises, in its order and kind of statistics.

    examples:
      wla doctor
      wla doctor --fix
      wla doctor env my_simulator
      wla doctor env my_simulator --tasks place --dataset datasets/place
      wla doctor env tabletop --policy nano-tabletop
    """

    part: Literal["env"] | None = None
    """What to look at: env, an environment; this machine when left out."""
    name: str | None = None
    """The environment."""
    fix: bool = False
    """Of the machine: also install the GL library, where that is allowed."""
    tasks: tuple[str, ...] = ()
    """Of the environment: tasks or groups; its default ones when left out."""
    setting: tuple[str, ...] = ()
    """Of the environment: settings; the first one when left out."""
    embodiment: str | None = None
    """Of the environment: the robot; the first one when left out."""
    protocol: str | None = None
    """Of the environment: the protocol; the first one when left out."""
    dataset: Path | None = None
    """Recorded episodes of the environment: the folder of a LeRobot dataset."""
    policy: str | None = None
    """A checkpoint that is to act in the environment: bundled name, folder or hub id. Its weights are not read."""
    episodes: int = Field(default=3, ge=1)
    """Episodes per task."""


def doctor(args: DoctorArgs) -> int:
    if args.part is None:
        from wla.doctor.machine import run

        _require_unset(args)
        return run(args.fix)
    if args.name is None:
        raise ValueError("NAME is missing: wla doctor env NAME (`wla list environments`)")
    from wla.cli.names import find_dataset
    from wla.doctor.environment import EnvCheckConfig, check_environment

    options = args.model_dump(exclude={"part", "name", "fix"})
    if args.dataset is not None:
        options["dataset"] = find_dataset(args.dataset)
    config = EnvCheckConfig(env=args.name, **options)
    wrong = 0
    for heading, findings in check_environment(config):
        print(heading)
        for finding in findings:
            print(_line(finding))
        wrong += sum(finding.ok is False for finding in findings)
    return 1 if wrong else 0


def _line(finding: Finding) -> str:
    fix = f"; {finding.fix}" if finding.fix else ""
    return f"  {MARKS[finding.ok]:<6}{finding.name:<11}{finding.found}{fix}"


def _require_unset(args: DoctorArgs) -> None:
    for name in ("tasks", "setting", "embodiment", "protocol", "dataset", "policy", "episodes"):
        if name in args.model_fields_set:
            raise ValueError(f"--{name} is for an environment: wla doctor env NAME --{name} ..")


DOCTOR = {"doctor": Command(DoctorArgs, doctor, positional=("part", "name"))}
