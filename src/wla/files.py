"""Atomic writes of files and folders, and disk errors in one line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wla.foreign import damaged, shown

MAX_TEXT_BYTES = 2**28
MAX_JSON_DEPTH = 100


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
    """Context with a temporary path, whose file replaces `path` when the block ends without an error."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Replaces a file atomically: a full disk or a kill leaves the old text or the new one, never a part of it."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


class atomic_dir:
    """Context manager with an empty folder beside `folder`, which replaces it when the block ends without an error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temp_dir = folder.parent / f".{folder.name}.writing"
        self.backup_dir = _backup_path(folder)

    def __enter__(self) -> Path:
        recover(self.folder)
        shutil.rmtree(self.temp_dir, ignore_errors=True)
        self.temp_dir.mkdir(parents=True)
        return self.temp_dir

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.temp_dir, ignore_errors=True)
            return
        shutil.rmtree(self.backup_dir, ignore_errors=True)
        try:
            if self.folder.exists():
                os.replace(self.folder, self.backup_dir)
            os.replace(self.temp_dir, self.folder)
        except OSError:
            recover(self.folder)
            shutil.rmtree(self.temp_dir, ignore_errors=True)
            raise
        shutil.rmtree(self.backup_dir, ignore_errors=True)


def recover(folder: Path) -> None:
    """Restores the old folder after `atomic_dir` was killed between moving it away and moving the new one in."""
    if _backup_path(folder).exists() and not folder.exists():
        os.replace(_backup_path(folder), folder)


def _backup_path(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"
