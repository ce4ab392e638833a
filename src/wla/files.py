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
def disk_errors(place: Path, way_out: str) -> Iterator[None]:
    """A full disk or a folder that cannot be written becomes a ValueError; `way_out`: what is safe, what to do."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"{place}: cannot write ({error}); {way_out}") from error


def read_object(path: Path, *, missing: str = "file is missing; restore it") -> dict[str, Any]:
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
def replacing_file(path: Path) -> Iterator[Path]:
    """Where to write a file that takes the place of `path` when the block ends well."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Replace a file at once: a full disk or a kill leaves the old text or the new one, never half of it."""
    with replacing_file(path) as part:
        part.write_text(text, encoding="utf-8")


class replacing:
    """Context manager: a fresh folder beside `folder` that takes its place when the block ends well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fresh = folder.parent / f".{folder.name}.writing"
        self.old = _old(folder)

    def __enter__(self) -> Path:
        restore(self.folder)
        shutil.rmtree(self.fresh, ignore_errors=True)
        self.fresh.mkdir(parents=True)
        return self.fresh

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.fresh, ignore_errors=True)
            return
        shutil.rmtree(self.old, ignore_errors=True)
        try:
            if self.folder.exists():
                os.replace(self.folder, self.old)
            os.replace(self.fresh, self.folder)
        except OSError:
            restore(self.folder)
            shutil.rmtree(self.fresh, ignore_errors=True)
            raise
        shutil.rmtree(self.old, ignore_errors=True)


def restore(folder: Path) -> None:
    """Put back what `replacing` had moved aside when it was killed before the new folder was in place."""
    if _old(folder).exists() and not folder.exists():
        os.replace(_old(folder), folder)


def _old(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"
