"""Kills at every file call: whatever a writer does, its files are cut there and stay as they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wla import files

CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
"""Audit events of calls that change a folder; opening a file for writing is another."""


class Killed(BaseException):
    """Stands for a kill: no `except Exception` stops it."""


class FileCalls:
    """Counts the calls that change or flush files below a folder, and kills at the one with number `at`.

    From then on every such call fails, that of a clean-up too, so that the disk stays as a kill -9 would leave it.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.count, self.at, self.active = str(root), 0, -1, False

    def call(self, *paths: object) -> None:
        if self.active and any(str(path).startswith(self.root) for path in paths):
            self.count += 1
            if 0 <= self.at < self.count:
                raise Killed

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.active:
            return
        if event in CHANGES:
            self.call(*(os.fsdecode(a) for a in arguments if isinstance(a, str | bytes | os.PathLike)))
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, mode, flags = arguments
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            ):
                self.call(os.fsdecode(path))


_current: list[FileCalls] = []
sys.addaudithook(lambda event, arguments: _current[-1].audit(event, arguments) if _current else None)


@contextmanager
def counted(root: Path, at: int = -1) -> Iterator[FileCalls]:
    """Context in which the calls below `root` count; the one with number `at` (from 0) and all later ones fail."""
    calls = FileCalls(root)
    calls.at = at
    sync, exchange = files.sync, files._exchange

    def counted_sync(path: Path) -> None:
        calls.call(path)
        sync(path)

    def counted_exchange(one: Path, other: Path) -> bool:
        calls.call(one)
        return exchange(one, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "sync", counted_sync)
        patch.setattr(files, "_exchange", counted_exchange)
        calls.active = True
        _current.append(calls)
        try:
            yield calls
        finally:
            _current.pop()
            calls.active = False


def cut_everywhere(
    root: Path,
    prepare: Callable[[Path], None],
    write: Callable[[Path], object],
    check: Callable[[Path, bool], None],
    *,
    every: int = 1,
) -> int:
    """Runs `write` once per file call, killed there, each time in a new prepared folder; returns how many there were.

    check: gets the folder and whether `write` returned. every: tries one call in this number.
    """
    prepare(root / "whole")
    with counted(root / "whole") as calls:
        write(root / "whole")
    check(root / "whole", True)
    for at in range(0, calls.count, every):
        folder = root / f"cut {at}"
        prepare(folder)
        with counted(folder, at), pytest.raises(Killed):
            write(folder)
        check(folder, False)
    return calls.count
