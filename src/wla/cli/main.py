"""`wla COMMAND ...`: the list of commands, and how mistakes are reported. Each command has a module beside this one."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from wla.cli.annotate import ANNOTATE
from wla.cli.checkpoints import CHECKPOINTS
from wla.cli.collect import COLLECT, RECORD_MEMORY
from wla.cli.command import HELP_FLAGS, Command, Group, format_commands, unknown_command
from wla.cli.data import DATA
from wla.cli.doctor import DOCTOR
from wla.cli.estimate import ESTIMATE
from wla.cli.evaluate import DEMO, EVALUATE
from wla.cli.init import INIT
from wla.cli.train import TRAIN

HELP = """usage: wla COMMAND [options]

World-language-action robot policies: collect, train, evaluate.

A round on a laptop:

  wla doctor                                               what this machine lacks
  wla demo                                                 the bundled policy at work
  wla collect --tasks place --episodes 400 --out datasets/place
  wla data check datasets/place                            every problem of a dataset, before training
  wla train nano_tabletop --help                           every field of a recipe, and how to change it
  wla train nano_tabletop                                  writes a checkpoint
  wla eval CHECKPOINT --tasks place --out outputs/place    rates, videos, report.html

Commands (`wla COMMAND --help` shows options and examples):

{commands}

A mistake prints one line and exits with 2; --traceback (or WLA_TRACEBACK=1) shows where it came from.
"""

COMMANDS: dict[str, Command | Group] = {
    **DOCTOR,
    **DEMO,
    **COLLECT,
    "data": DATA,
    **ANNOTATE,
    **ESTIMATE,
    **INIT,
    **TRAIN,
    **EVALUATE,
    **RECORD_MEMORY,
    **CHECKPOINTS,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code: 2 for a mistake of the user, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    trace = bool(os.environ.get("WLA_TRACEBACK")) or "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    try:
        return _dispatch(words)
    except KeyboardInterrupt as stop:
        _print_error(f"interrupted: {stop}" if str(stop) else "interrupted", trace)
        return 130
    except (ValueError, OSError, ModuleNotFoundError) as error:
        _print_error(f"error: {' '.join(str(error).split()) or type(error).__name__}", trace)
        return 2


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in HELP_FLAGS:
        print(HELP.format(commands=format_commands(COMMANDS)), end="")
        return 0 if words else 2
    if words[0] == "--version":
        from wla import __version__

        print(__version__)
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise ValueError(unknown_command(name, COMMANDS))
    return COMMANDS[name].call(name, rest)


def _print_error(line: str, trace: bool) -> None:
    if trace:
        traceback.print_exc()
    print(f"wla: {line}", file=sys.stderr)
