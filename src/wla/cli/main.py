"""`wla COMMAND ...`: runs a command, and reports mistakes in one line."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence

from wla.cli.command import HELP_FLAGS, format_commands, unknown_command
from wla.cli.commands import COMMANDS, HELP
from wla.cli.interrupts import Interrupts
from wla.cli.streams import OutputError, prepare_streams, print_error

MISTAKE, INTERRUPTED, CLOSED_PIPE = 2, 130, 141
"""Exit codes; the last two as shells report SIGINT and SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns its exit code, see `HELP`."""
    prepare_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    trace = bool(os.environ.get("WLA_TRACEBACK")) or "--traceback" in words
    with Interrupts() as interrupts:
        try:
            code = _dispatch([word for word in words if word != "--traceback"])
            sys.stdout.flush()
            return code
        except KeyboardInterrupt as stop:
            return _report(INTERRUPTED, f"interrupted: {stop}" if str(stop) else "interrupted", trace)
        except Exception as error:  # noqa: BLE001 - what is neither is raised again
            if interrupts.received:
                return _report(INTERRUPTED, "interrupted", trace)
            return _failed(error, trace)


def _failed(error: Exception, trace: bool) -> int:
    """Reports a mistake of the user or of the machine, and returns its exit code; raises what is a bug."""
    match error:
        case OutputError(errno=errno.EPIPE):
            return CLOSED_PIPE  # whoever read it has read enough
        case OutputError():
            return _report(MISTAKE, f"error: standard output cannot be written: {error.strerror}", trace)
        case ValueError() | OSError() | ModuleNotFoundError():
            return _report(MISTAKE, f"error: {' '.join(str(error).split()) or type(error).__name__}", trace)
    raise error


def _dispatch(words: Sequence[str]) -> int:
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in HELP_FLAGS:
        print(HELP.format(commands=format_commands(COMMANDS)), end="")
        return 0 if words else MISTAKE
    if words[0] == "--version":
        from wla import __version__

        print(__version__)
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise ValueError(unknown_command(name, COMMANDS))
    return COMMANDS[name].call(name, rest)


def _report(code: int, line: str, trace: bool) -> int:
    """Prints a line about the present exception, and its traceback if asked for. Returns the exit code."""
    if trace:
        traceback.print_exc()
    print_error(f"wla: {line}")
    return code
