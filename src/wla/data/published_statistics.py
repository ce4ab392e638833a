"""The JSON format of WLA-0's published statistics: min and max per dimension, one entry for each dataset.

{"<dataset>": {"action": {"min": [...], "max": [...]}, "observation.state": {"min": [...], "max": [...]}}}

Files that we write also have mean, std and quantiles, which other modes than MIN_MAX need.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wla.data.lerobot.format import ACTION, STATE
from wla.data.normalize import QUANTILES, Statistics, VectorStatistics
from wla.files import atomic_write_text, disk_errors, read_json

_COMMAND = "`wla data stats DATASET --out {}`"


def read_published(
    path: Path, name: str | None = None, *, state_dim: int | None = None, action_dim: int | None = None
) -> Statistics:
    """The statistics of the dataset `name`; without a name the file must have a single entry.

    ValueError when the file is damaged, has no such entry, or its dimensions differ from state_dim and action_dim
    (None: any).
    """
    entries = _read(path)
    _require_format(path, entries)
    if name is None and len(entries) != 1:
        raise ValueError(f"{path}: has {len(entries)} entries, {_listed(entries)}; name the one to use")
    chosen = next(iter(entries)) if name is None else name
    if chosen not in entries:
        raise ValueError(f"{path}: no entry {chosen!r}; the file has {_listed(entries)}")
    where = f"{path}: entry {chosen!r}"
    entry = entries[chosen]
    if not isinstance(entry, dict) or STATE not in entry:
        raise ValueError(f"{where} has no {STATE!r}; correct it, or write the file with {_COMMAND.format(path)}")
    state = _vector(entry[STATE], f"{where}, {STATE!r}", state_dim)
    action = _vector(entry[ACTION], f"{where}, {ACTION!r}", action_dim) if ACTION in entry else None
    return Statistics(state=state, action=action)


def write_published(path: Path, entries: Mapping[str, Statistics]) -> None:
    """Writes these entries and keeps the others of the file. ValueError when it is not a file of statistics."""
    tree = _read(path) if path.exists() else {}
    _require_format(path, tree)
    for name, entry in tree.items():
        if not (isinstance(entry, dict) and isinstance(entry.get(STATE), dict) and "min" in entry[STATE]):
            raise ValueError(f"{path}: is no file of statistics ({name!r} is none); choose another file")
    for name, statistics in entries.items():
        vectors = {ACTION: statistics.action, STATE: statistics.state}
        tree[name] = {key: vector.known for key, vector in vectors.items() if vector is not None}
    with disk_errors(path, "free disk space or choose another file"):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps(tree, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    missing = f"no statistics file here; {_COMMAND.format(path)} writes one"
    return read_json(path, missing=missing)


def _require_format(path: Path, entries: Mapping[str, Any]) -> None:
    """ValueError for statistics of other programs, with the command that computes them from the dataset."""
    found = None
    if isinstance(entries.get("norm_stats"), dict):
        found = "openpi's statistics (norm_stats.json)"
    elif isinstance(entries.get(STATE), dict) and "min" in entries[STATE]:
        found = "LeRobot's statistics of one dataset (meta/stats.json)"
    if found is not None:
        raise ValueError(
            f"{path}: is {found}, of another format; {_COMMAND.format('FILE')} computes those that are read here"
        )


def _listed(entries: Mapping[str, Any]) -> str:
    return ", ".join(sorted(entries)) or "none"


def _vector(tree: Any, where: str, dim: int | None) -> VectorStatistics:
    if not isinstance(tree, dict):
        raise ValueError(f"{where} is not an object with min and max; correct the file")
    # Some files also hold other quantiles and LeRobot's count, a list, which are not used here.
    known = {key: value for key, value in tree.items() if key in ("min", "max", "mean", "std", *QUANTILES)}
    missing = [key for key in ("min", "max") if key not in known]
    if missing:
        raise ValueError(f"{where} has no {missing[0]!r}; write the file with {_COMMAND.format('FILE')}")
    try:
        vector = VectorStatistics.model_validate(known)
    except ValidationError as error:
        item = error.errors()[0]
        at = "".join(f" {part}" for part in item["loc"])
        raise ValueError(f"{where}:{at} {item['msg'].removeprefix('Value error, ')}; correct the file") from error
    if dim is not None and vector.dim != dim:
        raise ValueError(f"{where} has {vector.dim} dimensions, the robot has {dim}; use statistics of this robot")
    return vector
