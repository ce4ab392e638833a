"""`wla doctor`: what this machine lacks."""

from __future__ import annotations

from wla.cli.command import CliArgs, Command


class DoctorArgs(CliArgs):
    """List what this machine lacks, with the command that installs it. Exits with 1 when something is missing.

    examples:
      wla doctor
      wla doctor --fix
    """

    fix: bool = False
    """Also install the GL library, where that is allowed."""


def doctor(args: DoctorArgs) -> int:
    from wla import doctor

    return doctor.run(args.fix)


DOCTOR = {"doctor": Command(DoctorArgs, doctor)}
