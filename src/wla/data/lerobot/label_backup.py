"""The files that a relabelling replaces, kept in the dataset so that it can be undone.

Each relabelling adds a numbered folder to `.annotate_undo`: the data files and `info.json` as they were (hard links
where the file system has them), and `written.json`, fingerprints of those that took their places. Undoing goes
backwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wla.data.lerobot.format import INFO
from wla.files import atomic_dir, read_json
from wla.foreign import path_below
from wla.locks import locked

LABEL_BACKUP = ".annotate_undo"
_WRITTEN = "written.json"


@contextmanager
def replaced_data(root: Path, files: Iterable[Path]) -> Iterator[Path]:
    """Context with an empty folder for new versions of these files below `ROOT/data`, relative to that.

    At its end the folder replaces `data`, with every other file that is there. ValueError when a file is not below
    `data`, or is reached through a symbolic link to a folder.
    """
    data = root / "data"
    for path in files:
        if not path.is_relative_to(data) or path.parent.resolve() != root.resolve() / path.parent.relative_to(root):
            raise ValueError(f"{path}: labels are written into files below {data} only, not through links")
    with atomic_dir(data, replaces=("*",)) as fresh:
        yield fresh
        for path in sorted(data.rglob("*")):
            target = fresh / path.relative_to(data)
            if path.is_symlink() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(os.readlink(path))
            elif path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif not target.exists():
                link(path, target)


def link(source: Path, target: Path) -> None:
    """Gives the file `source` the further name `target`, or copies it where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def keep(root: Path, files: Iterable[Path], fresh: Path, info: Path) -> Path:
    """Keeps the data files and `info.json` as they are, and returns the new folder in the backup.

    fresh: folder with the new data files. info: the new `info.json`.
    """
    folder = path_below(root, LABEL_BACKUP, root)
    folder.mkdir(exist_ok=True)
    step = folder / f"{max(_numbers(folder), default=0) + 1:04d}"
    part = path_below(root, f"{LABEL_BACKUP}/{step.name}.part", root)
    shutil.rmtree(part, ignore_errors=True)
    names = [path.relative_to(root).as_posix() for path in files]
    for name in names:
        link(root / name, part / name)
    link(root / INFO, part / "info.json")
    written = {name: _sha256(fresh / Path(name).relative_to("data")) for name in names} | {INFO: _sha256(info)}
    (part / _WRITTEN).write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    part.rename(step)
    return step


def discard(step: Path) -> None:
    """Removes a folder of the backup, and the backup itself when it was the last one."""
    shutil.rmtree(step, ignore_errors=True)
    if step.parent.is_dir() and not any(step.parent.iterdir()):
        step.parent.rmdir()


def undo(root: Path) -> int:
    """Restores the files that the last relabelling replaced, byte for byte, and returns the number of steps left.

    ValueError when there is nothing to undo, or when the files have changed since then; nothing is changed then.
    """
    folder = path_below(root, LABEL_BACKUP, root)
    numbers = _numbers(folder) if folder.is_dir() else []
    if not numbers:
        raise ValueError(f"{root}: nothing to undo; `wla annotate` keeps what it replaces in {LABEL_BACKUP}")
    step = folder / f"{max(numbers):04d}"
    written = read_json(step / _WRITTEN)
    kept = {path_below(root, name, step / _WRITTEN): path_below(step, _kept_name(name), step) for name in written}
    for path, old in kept.items():
        if not old.is_file():
            raise ValueError(f"{old}: is missing; restore it, or copy the others to their places yourself")
        if path.is_file() and _sha256(path) not in (written[path.relative_to(root).as_posix()], _sha256(old)):
            raise ValueError(f"{path}: has changed since it was annotated; compare it with {old}")
    data = {path: old for path, old in kept.items() if path != root / INFO}
    with locked(root), replaced_data(root, data) as fresh:
        for path, old in data.items():
            link(old, fresh / path.relative_to(root / "data"))
    staged = root / INFO.replace("info", ".info.undo")
    staged.unlink(missing_ok=True)
    link(step / "info.json", staged)
    os.replace(staged, root / INFO)
    discard(step)
    return len(numbers) - 1


def _kept_name(name: str) -> str:
    # Not below `meta`: a folder with `meta/info.json` is a dataset, and this is none.
    return "info.json" if name == INFO else name


def _numbers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.name.isascii()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
