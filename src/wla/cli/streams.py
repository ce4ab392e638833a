"""Standard output and standard error that may be closed, full, or unable to encode a character."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper


class OutputError(OSError):
    """Standard output that cannot be written, as opposed to a file; the cause is the error of the system."""


class _Output(TextIOWrapper):
    """Standard output, whose errors are `OutputError`; after one, the rest goes nowhere."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._fail(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._fail(error) from error

    def _fail(self, error: OSError) -> OutputError:
        # Python writes what is left when it exits, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        return OutputError(error.errno, error.strerror)


def prepare_streams() -> None:
    """Replaces closed streams, and lets no character of a file name or instruction fail."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: the next file would take its descriptor
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    out = sys.stdout
    if out is sys.__stdout__ and isinstance(out, TextIOWrapper):
        sys.stdout = _Output(out.buffer, out.encoding, out.errors, line_buffering=out.line_buffering)


def print_error(line: str) -> None:
    """Prints a line on standard error, where that can be written."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
