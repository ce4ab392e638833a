"""Writing to disk: whole or not at all, and in one line when it cannot be done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def disk_errors(path: Path, hint: str) -> Iterator[None]:
    """A full disk or a folder that cannot be written becomes a ValueError; `hint`: what is safe, what to do."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: cannot write ({error}); {hint}") from error


def read_json(path: Path, *, missing: str = "file is missing; restore it") -> dict[str, Any]:
    """A JSON object. ValueError in one line when the file is absent (saying `missing`), damaged or something else."""
    if not path.is_file():
        raise ValueError(f"{path}: {missing}")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: damaged JSON ({error}); restore the file") from error
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: is a {type(tree).__name__}, not a JSON object; restore the file")
    return tree


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Where to write a file that takes the place of `path` when the block ends well."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Replace a file at once: a full disk or a kill leaves the old text or the new one, never half of it."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


class atomic_dir:
    """Context manager: a fresh folder beside `folder` that takes its place when the block ends well."""

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
    """Put back what `atomic_dir` had moved aside when it was killed before the new folder was in place."""
    if _backup_path(folder).exists() and not folder.exists():
        os.replace(_backup_path(folder), folder)


def _backup_path(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"
