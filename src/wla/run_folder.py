"""The folder of a training run: one generation per save, and pointers to generations.

``RUN/steps/000500/checkpoint`` and ``RUN/steps/000500/training_state`` belong to step 500 and never change.
``RUN/latest`` is a text file with the name of the last complete generation; replacing it publishes a save. A reader
resolves the pointer once, so nobody mixes files of two saves. ``RUN/checkpoint`` stands for the latest checkpoint in
every command; runs of earlier versions have a real folder there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wla.files import atomic_write_text, move_dir, require_replaceable, sync_tree

STEPS, CHECKPOINT, STATE = "steps", "checkpoint", "training_state"
LATEST, BEST = "latest", "best"
POINTERS = (LATEST, BEST)
"""Files of a run that name a generation, which is then not removed."""
_STAGE, _REMOVED = ".writing", ".removed"
"""Endings of folders in `STEPS` that a run writes or removes; the run is locked, so it may clear those of a killed
one."""
Content = TypeVar("Content")


def checkpoint_folder(path: Path) -> Path:
    """Returns the checkpoint that `path` names now: a run, its ``checkpoint``, a pointer or a generation of it.

    Any other path is returned as it is. ValueError for a pointer to nothing.
    """
    run, pointer = path, LATEST
    if path.name in POINTERS and path.is_file():
        run, pointer = path.parent, path.name
    elif path.name == CHECKPOINT and (path.parent / STEPS).is_dir():
        run = path.parent
    generation = pointed_generation(run, pointer) or path
    if generation != path or (path / STATE).is_dir():
        return generation / CHECKPOINT
    return path


def read_checkpoint(find: Callable[[], Path], read: Callable[[Path], Content]) -> Content:
    """Returns `read` of the folder that `find` resolves, and of the next one if a run removed that meanwhile."""
    folder = find()
    while True:
        try:
            return read(folder)
        except (OSError, ValueError):
            if folder.exists():
                raise
            previous, folder = folder, find()
            if folder == previous:
                raise


def pointed_generation(run: Path, pointer: str = LATEST) -> Path | None:
    """Returns the generation that a pointer names; None without the pointer. ValueError when there is none of it."""
    name = _pointed_name(run, pointer)
    while name is not None:
        generation = run / STEPS / name
        if name.isdecimal() and generation.is_dir():
            return generation
        previous, name = name, _pointed_name(run, pointer)
        if name == previous:  # else a save has removed that generation since the pointer was read
            present = ", ".join(path.name for path in generations(run)) or "none"
            raise ValueError(
                f"{run / pointer}: names {name[:80]!r}, and {run / STEPS} has {present}; write one of these into it"
            )
    return None


def _pointed_name(run: Path, pointer: str) -> str | None:
    if not ((run / STEPS).is_dir() and (run / pointer).is_file()):
        return None
    return (run / pointer).read_text(encoding="utf-8", errors="replace").strip()


def move_pointer(run: Path, generation: Path, pointer: str = LATEST) -> None:
    """Points to a complete generation from now on: readers see the old one or the new one."""
    atomic_write_text(run / pointer, generation.name + "\n")


def latest_step(run: Path) -> int | None:
    """Returns the number of steps done in the latest generation, None before the first save."""
    generation = pointed_generation(run)
    return None if generation is None else int(generation.name)


def state_folder(run: Path) -> Path | None:
    """Returns the latest training state, that of an earlier version's run too; None before the first save."""
    generation = pointed_generation(run)
    state = (generation or run) / STATE
    return state if generation is not None or state.is_dir() else None


def generations(run: Path) -> list[Path]:
    """Returns the generations of a run by ascending step. Folders with anything else in them are none."""
    folders = [path for path in (run / STEPS).glob("[0-9]*") if path.name.isdecimal() and path.is_dir()]
    own = [path for path in folders if {entry.name for entry in path.iterdir()} <= {CHECKPOINT, STATE}]
    return sorted(own, key=lambda path: int(path.name))


def stage_of(run: Path, step: int) -> Path:
    """Returns the folder in which the generation of a step is written before it is published."""
    return run / STEPS / f".{step:06d}{_STAGE}"


def publish(run: Path, stage: Path) -> Path:
    """Flushes a complete generation to disk, gives it its name, points `LATEST` to it, and returns it.

    A generation of the same step, of a run that was killed before it pointed there, is replaced.
    """
    generation = run / STEPS / stage.name.removeprefix(".").removesuffix(_STAGE)
    sync_tree(stage)
    require_replaceable(generation, (CHECKPOINT, STATE))
    move_dir(stage, generation)
    move_pointer(run, generation)
    return generation


def prune(run: Path, keep: int) -> None:
    """Removes all generations but the last `keep` up to the latest one and those that a pointer names.

    The checkpoint and state of an earlier version's run, which are older than any generation, go too.
    """
    latest = latest_step(run)
    assert latest is not None
    saved = [path for path in generations(run) if int(path.name) <= latest][-keep:]
    kept = {path.name for path in saved} | {_pointed_name(run, pointer) for pointer in POINTERS}
    for path in generations(run):
        if path.name not in kept:
            _remove(path, run / STEPS)
    for name in (CHECKPOINT, STATE):
        if (run / name).is_dir() and not (run / name).is_symlink():
            _remove(run / name, run / STEPS)
    clear_leftovers(run)


def clear_leftovers(run: Path) -> None:
    """Removes what a killed run was writing or removing."""
    for ending in (_STAGE, _REMOVED):
        for path in (run / STEPS).glob(f".*{ending}"):
            shutil.rmtree(path, ignore_errors=True)


def _remove(folder: Path, trash: Path) -> None:
    """Removes a folder, which is gone at once for whoever looks, also after a kill."""
    removed = trash / f".{folder.name}{_REMOVED}"
    shutil.rmtree(removed, ignore_errors=True)
    os.rename(folder, removed)
    shutil.rmtree(removed, ignore_errors=True)
