"""Locks of folders that one process at a time may write: runs, evaluations, datasets."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wla.files import disk_errors

LOCK = ".lock"
"""File in a locked folder with the process id of its writer. The system frees the lock when that process ends, however
it ends."""
_held: set[Path] = set()
"""Folders that this process has locked."""


@contextmanager
def locked(folder: Path, hint: str = "free disk space or choose another folder") -> Iterator[None]:
    """Context in which no other process writes into a folder.

    A folder that is absent is created, and removed again if nothing was put into it. It may be entered again by the
    process that holds the lock. hint: end of the message when the folder cannot be written. ValueError, in one line
    with the other's process id, when another process holds it, and when the folder cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    if folder in _held:
        yield
        return
    new = not folder.exists()
    with disk_errors(folder, hint):
        descriptor = _open_locked(folder / LOCK)
    _held.add(folder)
    try:
        yield
    finally:
        _held.discard(folder)
        try:
            (folder / LOCK).unlink(missing_ok=True)
            if new and not any(folder.iterdir()):
                folder.rmdir()
        finally:
            os.close(descriptor)


def _open_locked(path: Path) -> int:
    """Returns the locked file, with this process's id in it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # its owner has just removed the empty folder
        try:
            _lock(descriptor, path)
            if _is_at(descriptor, path):  # else its owner removed it, and others lock a new file of this name
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        raise ValueError(
            f"{path.parent}: another process (pid {pid}) writes here now; wait for it or choose another folder"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
        # Some cluster file systems are mounted without locks: training there must stay possible.
        print(f"{path.parent}: its file system has no locks; start only one process at a time here", file=sys.stderr)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
