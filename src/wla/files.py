"""Atomic, durable writes of files and folders, and disk errors in one line.

What is written appears under its name complete and flushed to disk, or not at all. Each writer fills a staging folder
of its own beside the target; one that a killed writer left is removed by the next writer of the same target.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import fnmatch
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wla.foreign import damaged, shown

MAX_TEXT_BYTES = 2**28
MAX_JSON_DEPTH = 100
_STAGING = ".writing"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Arguments of Linux's renameat2."""


@contextmanager
def disk_errors(path: Path, hint: str) -> Iterator[None]:
    """Context that turns an OSError (full disk, read-only folder) into a ValueError.

    hint: end of the message, about what is safe and what to do.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: cannot write ({error}); {hint}") from error


def read_text(path: Path, kind: str, *, missing: str = "file is missing; restore it") -> str:
    """The text of a UTF-8 file, without a byte order mark.

    kind: of file, for messages. ValueError when it is absent (message: `missing`), larger than `MAX_TEXT_BYTES`, or not
    such a text.
    """
    if not path.is_file():
        raise ValueError(f"{path}: {missing}")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(f"{path}: is larger than {MAX_TEXT_BYTES >> 20} MiB, which no {kind} is; restore the file")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise damaged(path, kind, f"not UTF-8, {error.reason} at byte {error.start}", "save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); correct that") from error


def read_json(path: Path, *, missing: str = "file is missing; restore it") -> dict[str, Any]:
    """The JSON object in a file. ValueError when it is absent (message: `missing`), damaged or of another type."""
    tree = parse_json(read_text(path, "JSON", missing=missing), path)
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: is a {type(tree).__name__}, not a JSON object; restore the file")
    return tree


def parse_json(text: str, path: Path, where: str = "") -> Any:
    """The value of a JSON text. ValueError when it is damaged, nested too deeply or contains half a character.

    path, where: the file and the place in it, for messages.
    """
    kind = f"JSON{where}"
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise damaged(path, kind, "nested too deeply") from error
    except ValueError as error:
        raise damaged(path, kind, error) from error
    nodes = [(tree, 1)]
    while nodes:
        node, depth = nodes.pop()
        if depth > MAX_JSON_DEPTH:
            raise damaged(path, kind, f"nested more than {MAX_JSON_DEPTH} deep")
        children = [*node, *node.values()] if isinstance(node, dict) else node if isinstance(node, list) else []
        nodes += [(child, depth + 1) for child in children if not isinstance(child, int | float)]
        if isinstance(node, str) and not node.isascii() and any("\ud800" <= letter <= "\udfff" for letter in node):
            raise damaged(path, kind, f"the text {shown(node)} contains half a character")
    return tree


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Context with a temporary path, whose file replaces `path` when the block ends without an error.

    A symbolic link stays one: the file that it points to is replaced.
    """
    path = Path(os.path.realpath(path))
    with staging(path) as stage:
        part = stage / path.name
        yield part
        sync(part)
        os.replace(part, path)
        sync(path.parent)


def atomic_write_text(path: Path, text: str) -> None:
    """Replaces a file atomically: a full disk or a kill leaves the old text or the new one, never a part of it."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def atomic_dir(folder: Path, *, replaces: Sequence[str] = ()) -> Iterator[Path]:
    """Context with an empty folder, which takes the place of `folder` when the block ends without an error.

    A symbolic link stays one: the folder that it points to is replaced. Parents are created.

    Args:
        folder: target. Old and new content are exchanged at once, where the system can.
        replaces: patterns (as of fnmatch) of the names in an existing folder that may be lost.

    Raises:
        ValueError: the folder exists and holds anything else, or is a file.
    """
    folder = Path(os.path.realpath(folder))
    recover(folder)
    require_replaceable(folder, replaces)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with staging(folder) as stage:
        fresh = stage / folder.name
        fresh.mkdir()
        yield fresh
        require_replaceable(folder, replaces)  # a user may have put something there meanwhile
        sync_tree(fresh)
        move_dir(fresh, folder)


def require_replaceable(folder: Path, replaces: Sequence[str]) -> None:
    """Raises ValueError when a folder holds names that match none of the patterns, or is a file."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file; save to a new folder")
    for name in sorted(os.listdir(folder)):
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in replaces):
            raise ValueError(f"{folder}: holds {name}, which saving would remove; save to a new folder")


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Context with an empty folder beside `target` that no other writer uses, removed in the end.

    It stays locked meanwhile, so those of killed writers are recognised by their free locks; they are removed first.
    """
    clear_staging_of(target)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_STAGING, dir=target.parent))
        lock = os.open(folder, os.O_RDONLY)
        _try_lock(lock)
        if folder.exists():  # else another writer took it for a leftover before it was locked
            break
        os.close(lock)
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def clear_staging_of(target: Path) -> None:
    """Removes what killed writers of a file or folder left beside it."""
    for entry in os.scandir(target.parent):
        if entry.name.startswith(f".{target.name}.") and entry.name.endswith(_STAGING):
            _remove_if_free(Path(entry.path))


def clear_staging(root: Path) -> None:
    """Removes, anywhere below a folder, what killed writers left."""
    for folder in sorted(root.rglob(f".*{_STAGING}")):
        _remove_if_free(folder)


def move_dir(source: Path, target: Path) -> None:
    """Moves a folder to the place of another one (now at `source`) or of none, and flushes the rename.

    Where the system cannot exchange folders, the old one is absent briefly; `recover` restores it after a kill.
    """
    if not target.exists():
        os.rename(source, target)
    elif not _exchange(source, target):
        backup = _backup_path(target)
        shutil.rmtree(backup, ignore_errors=True)
        os.rename(target, backup)
        try:
            os.rename(source, target)
        except OSError:
            recover(target)
            raise
        os.rename(backup, source)
    sync(target.parent)


def recover(folder: Path) -> None:
    """Restores the old folder after `move_dir` was killed between moving it away and moving the new one in."""
    if _backup_path(folder).exists() and not folder.exists():
        os.rename(_backup_path(folder), folder)


def sync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flushes all files and folders below `folder`, and itself, to disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if not os.path.islink(os.path.join(parent, name)):  # it may point nowhere, or to a file of others
                sync(Path(parent, name))
        sync(Path(parent))


def _backup_path(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders at once; False where system or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    if renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _remove_if_free(folder: Path) -> None:
    """Removes a staging folder whose writer is dead."""
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # its writer has just removed it
    try:
        if _try_lock(lock):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _try_lock(descriptor: int) -> bool:
    """Locks an open file or folder; False when another process has, or when the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
