"""`meta/episodes`: a row for each episode. Whatever else the tables hold is not read, and not checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from wla.data.lerobot.format import EPISODE_LINES, INFO, MAX_EPISODES, ROBOT, DatasetInfo
from wla.data.lerobot.tables import is_text, read_schema, read_table, typed, visible
from wla.data.lerobot.timing import Run
from wla.data.lerobot.v21 import read_episode_lines
from wla.foreign import path_below
from wla.migrations import COLUMNS

ROBOT_TYPE = "robot_type"
"""Column of `meta/episodes`, the tasks or the frames that names a robot, in datasets that others joined."""
EpisodeRow = dict[str, Any]
"""One row of `meta/episodes`: `tasks` is a list of texts; what a table does not have is absent."""

FOLDER = "meta/episodes"
_REQUIRED = ("episode_index", "length")
_NUMBERS = ("dataset_from_index", "dataset_to_index", "data/chunk_index", "data/file_index")
_OURS = {"seed": pa.int64(), "success": pa.bool_(), "action_executed": pa.list_(pa.bool_())}
"""Columns that our recorder writes, all three of them."""
_OF_A_VIDEO = {"chunk_index": pa.int64(), "file_index": pa.int64()} | dict.fromkeys(
    ("from_timestamp", "to_timestamp"), pa.float64()
)
_LIMITS = {pa.int64(): 2**62, pa.float64(): 1e9}


@dataclass(frozen=True)
class Episode:
    """Frames start <= i < end of a dataset.

    seed: reset seed of the environment. success: None where it is unknown. action_executed: per frame, whether the
    recorded action was the executed one (None: all were).
    """

    index: int
    start: int
    end: int
    instruction: str
    seed: int | None = None
    success: bool | None = None
    action_executed: tuple[bool, ...] | None = None

    def __len__(self) -> int:
        return self.end - self.start


def read_episodes(
    root: Path, info: DatasetInfo, *, with_stats: bool = False
) -> tuple[list[EpisodeRow], list[EpisodeRow]]:
    """The rows of the episodes that `info.json` counts, and those that it does not: of a shard whose publication was
    interrupted, or counted wrong by another program. ValueError when there are fewer than it counts."""
    rows = [row for path in episode_files(root) for row in read_episode_file(path, root, info, with_stats=with_stats)]
    if len(rows) < info.total_episodes:
        raise ValueError(
            f"{root}: {INFO} counts {info.total_episodes} episodes, {FOLDER} describes {len(rows)}; "
            "restore the missing file or collect the dataset again"
        )
    return rows[: info.total_episodes], rows[info.total_episodes :]


def uncounted(rows: list[EpisodeRow], info: DatasetInfo) -> str:
    """A line about episodes that `info.json` does not count."""
    frames = sum(row["length"] for row in rows)
    return (
        f"{FOLDER} describes {len(rows)} more episodes than the {info.total_episodes} that {INFO} counts, with "
        f"{frames} frames; they are not read"
    )


def episode_files(root: Path) -> list[Path]:
    """The files of `meta/episodes` in the order of their episodes, or the JSON lines of an earlier version.

    ValueError for one that lies outside the dataset.
    """
    lines = path_below(root, EPISODE_LINES, root / FOLDER)
    if lines.is_file() and not (root / FOLDER).is_dir():
        return [lines]
    found = sorted(path for path in (root / FOLDER).glob("*/*.parquet") if visible(path.relative_to(root)))
    return [path_below(root, path.relative_to(root).as_posix(), root / FOLDER) for path in found]


def read_episode_file(path: Path, root: Path, info: DatasetInfo, *, with_stats: bool = False) -> list[EpisodeRow]:
    """The rows of a file of `meta/episodes`, with the types that the reader relies on.

    ValueError names the column that is absent, or of another type.
    """
    if path.suffix == ".jsonl":
        return read_episode_lines(path, info)
    schema = read_schema(path)
    names = schema.names
    numbers = [*_REQUIRED, *(name for name in _NUMBERS if name in names)]
    videos = {f"videos/{key}/{name}": kind for key in info.video_keys for name, kind in _OF_A_VIDEO.items()}
    videos = {name: kind for name, kind in videos.items() if name in names}
    ours = _our_columns(root, names)
    stats = [name for name in names if with_stats and name.startswith("stats/")]
    tasks = ["tasks"] if "tasks" in names else []
    robots = [ROBOT_TYPE] if ROBOT_TYPE in names and is_text(schema.field(ROBOT_TYPE).type) else []
    table = read_table(path, [*numbers, *videos, *ours, *stats, *tasks, *robots])
    columns: dict[str, Any] = {name: _checked(table, name, pa.int64(), path) for name in numbers}
    columns |= {name: values for name, kind in videos.items() if (values := _of_video(table, name, kind)) is not None}
    columns |= {COLUMNS.get(name, name): typed(table, name, kind, path, nulls=True) for name, kind in ours.items()}
    rows = pa.table(columns | {name: table[name] for name in (*stats, *robots)}).to_pylist()
    texts = _task_lists(table["tasks"]) if tasks else [[]] * len(rows)
    if len(rows) > MAX_EPISODES:
        raise ValueError(f"{path}: describes more than {MAX_EPISODES} episodes; restore the file")
    return [row | {"tasks": own} for row, own in zip(rows, texts, strict=True)]


def _our_columns(root: Path, names: list[str]) -> dict[str, pa.DataType]:
    """Those of our recorder: beside our own robot file, and where it wrote all of them. Columns of others may be called
    the same."""
    present = {COLUMNS.get(name, name): name for name in names}
    if not (root / ROBOT).is_file() or not _OURS.keys() <= present.keys():
        return {}
    return {present[name]: kind for name, kind in _OURS.items()}


def _checked(table: pa.Table, name: str, kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    column = typed(table, name, kind, path)
    values, limit = column.to_numpy(), _LIMITS[kind]
    if not ((values >= 0) & (values <= limit)).all():
        raise ValueError(f"{path}: column {name!r} has a value outside 0 .. {limit:g}; restore the file")
    return column


def _of_video(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray | None:
    """A column about a camera, without the values that say nothing: they are missed when the camera is used."""
    try:
        column = table[name].cast(kind)
    except pa.ArrowException:
        return None
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    useful = (values >= 0) & (values <= _LIMITS[kind])
    return pa.chunked_array(
        [pa.array([each if ok else None for each, ok in zip(column.to_pylist(), useful, strict=True)], kind)]
    )


def _task_lists(column: pa.ChunkedArray) -> list[list[str]]:
    """The texts of each row, whether they are stored as lists or as one text; none where they are something else."""
    kind = column.type
    if is_text(kind):
        return [[] if text is None else [text] for text in column.cast(pa.string()).to_pylist()]
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not (nested and is_text(kind.value_type)):
        return [[]] * len(column)
    return [[text for text in row or () if text is not None] for row in column.to_pylist()]


def begin_in_video(root: Path, row: EpisodeRow, key: str, run: Run, fps: float) -> float:
    """When the first frame of a run of an episode is shown, in seconds of its video.

    ValueError when `meta/episodes` does not say so, or says that the episode's part of the video is shorter than it.
    """
    begin, end = (row.get(f"videos/{key}/{name}") for name in ("from_timestamp", "to_timestamp"))
    where = f"{root}/{FOLDER}: episode {row['episode_index']}"
    if begin is None:
        raise ValueError(f"{where} has no time in the video {key!r} (from_timestamp); restore it")
    last = run.time + (run.length - 1) / fps
    if end is not None and end - begin < last - 0.5 / fps:
        raise ValueError(
            f"{where} is {row['length']} frames long, the last at {last:.4g} s, and its part of the video {key!r} "
            f"{begin:g} .. {end:g} s; restore from_timestamp and to_timestamp, or correct its timestamps"
        )
    return float(begin + run.time)


def make_episodes(root: Path, rows: Sequence[EpisodeRow]) -> tuple[Episode, ...]:
    """Episodes without their instructions, which are those of their frames. ValueError when they do not follow each
    other."""
    episodes: list[Episode] = []
    for number, row in enumerate(rows):
        expected = episodes[-1].end if episodes else 0
        start = row.get("dataset_from_index", expected)
        end = row.get("dataset_to_index", start + row["length"])
        if row["episode_index"] != number or start != expected or end - start != row["length"] or end <= start:
            raise ValueError(
                f"{root}/meta/episodes: episode {number} spans frames {start}..{end}, length {row['length']}, "
                f"after {expected} frames; episodes must follow each other, restore the file"
            )
        action_executed = row.get("action_executed")
        if action_executed is not None and len(action_executed) != end - start:
            raise ValueError(
                f"{root}/meta/episodes: episode {number} has {end - start} frames and {len(action_executed)} values of "
                "action_executed; restore the file"
            )
        executed = None if action_executed is None else tuple(action_executed)
        episodes.append(Episode(number, start, end, "", row.get("seed"), row.get("success"), executed))
    return tuple(episodes)
