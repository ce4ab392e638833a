"""Rows of the data files: where those of each episode lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from wla.data.lerobot.episode_table import EpisodeRow
from wla.data.lerobot.format import DatasetInfo
from wla.data.lerobot.tables import count_rows, read_schema, read_table, typed, visible
from wla.data.video.frame_files import FileSegment
from wla.foreign import path_below

OWNER = "episode_index"
Rows = dict[int, list[tuple[Path, int, int]]]
"""Episode -> (file, first row, number of rows) of each part of it."""
Problem = tuple[Path | int | None, ValueError]
"""The file or episode that is wrong, None for several episodes, and the message."""


def row_segments(root: Path, info: DatasetInfo, rows: Sequence[EpisodeRow]) -> list[FileSegment]:
    """The rows of each episode in the data files, in the order of the dataset; see `find_rows`. ValueError for the
    first problem."""
    found, problems = find_rows(root, info, rows)
    if problems:
        raise problems[0][1]
    segments, start = [], 0
    for row in rows:
        for path, first, count in found[row[OWNER]]:
            segments.append(FileSegment(path, first, start, count))
            start += count
    return segments


def find_rows(root: Path, info: DatasetInfo, rows: Sequence[EpisodeRow]) -> tuple[Rows, list[Problem]]:
    """The parts of files that hold the rows of each episode, and what is wrong: an episode is not found, has another
    length, or is interrupted by others; a file is damaged.

    The column `episode_index` decides. Files that `meta/episodes` names are searched first and, where they do not hold
    an episode, all others. ValueError when a name leads out of the dataset.
    """
    lengths = {row[OWNER]: row["length"] for row in rows}
    named = named_files(root, info, rows)
    found: Rows = {}
    problems: list[Problem] = []
    for path, expected in named.items():
        if path.is_file():
            problems += _add(found, path, expected, lengths)
    if not problems and (missing := _incomplete(found, lengths)):
        for path in _data_files(root):
            if path not in named:
                problems += _add(found, path, [], missing)
                missing = _incomplete(found, lengths)
    broken = {path for path, _ in problems if path is not None}
    reported: set[Path] = set()
    place = {row[OWNER]: path for path, part in named.items() for row in part}
    for episode, length in lengths.items():
        own = place.get(episode)
        count = sum(part[2] for part in found.get(episode, ()))
        if count == length or own in broken or own in reported:
            continue
        if not count and own is not None and not own.is_file():
            reported.add(own)
            problems.append((None, ValueError(f"{own}: file is missing, and no other has its episodes; restore it")))
            continue
        where = found[episode][0][0] if count else own or root / "data"
        message = f"{where}: has {count} frames of episode {episode}, meta/episodes has {length}"
        problems.append((episode, ValueError(f"{message}; restore the file or remove the episode")))
    return found, problems


def named_files(root: Path, info: DatasetInfo, rows: Sequence[EpisodeRow]) -> dict[Path, list[EpisodeRow]]:
    """The data files that `meta/episodes` names, with the episodes that it has in each. ValueError for a file outside
    the dataset."""
    files: dict[Path, list[EpisodeRow]] = {}
    for row in rows:
        if "data/chunk_index" in row and "data/file_index" in row:
            files.setdefault(info.data_file(root, row), []).append(row)
    return files


def require_reasonable(path: Path, counted: int) -> None:
    """ValueError when a file has far more rows than are counted: reading them would waste memory."""
    if (found := count_rows(path)) > 10 * counted + 1000:
        raise ValueError(f"{path}: has {found} rows, meta/episodes counts {counted}; restore the file")


def _incomplete(found: Rows, lengths: Mapping[int, int]) -> dict[int, int]:
    """The episodes of which rows are still to be found, and their lengths."""
    return {each: n for each, n in lengths.items() if sum(part[2] for part in found.get(each, ())) < n}


def _add(found: Rows, path: Path, expected: Sequence[EpisodeRow], lengths: Mapping[int, int]) -> list[Problem]:
    """Adds the rows of a file that are of these episodes, and returns what is wrong with it.

    expected: its episodes, by `meta/episodes`.
    """
    try:
        require_reasonable(path, sum(lengths.values()))
        runs = _runs(path, expected)
    except ValueError as error:
        return [(path, error)]
    here: Rows = {}
    for episode, first, count in runs:
        if episode in lengths:
            here.setdefault(episode, []).append((path, first, count))
    for episode, parts in here.items():
        if len(parts) > 1:
            return [(path, ValueError(f"{path}: the rows of episode {episode} do not follow each other; restore it"))]
        found.setdefault(episode, []).extend(parts)
    return []


def _runs(path: Path, expected: Sequence[EpisodeRow]) -> list[tuple[int, int, int]]:
    """(episode, first row, number of rows) of each run of rows of the same episode in a file."""
    if OWNER in read_schema(path).names:
        owner = typed(read_table(path, [OWNER]), OWNER, pa.int64(), path).to_numpy()
        borders = np.flatnonzero(np.diff(owner, prepend=owner[:1] - 1))
        counts = np.diff(borders, append=len(owner))
        return list(zip(owner[borders].tolist(), borders.tolist(), counts.tolist(), strict=True))
    counted = sum(row["length"] for row in expected)
    if (rows := count_rows(path)) != counted:
        raise ValueError(
            f"{path}: has {rows} rows, meta/episodes counts {counted}, and no column {OWNER!r} tells whose they are; "
            "restore the file"
        )
    ends = np.cumsum([row["length"] for row in expected]).tolist()
    return [(row[OWNER], end - row["length"], row["length"]) for row, end in zip(expected, ends, strict=True)]


def _data_files(root: Path) -> list[Path]:
    found = sorted(path for path in (root / "data").glob("*/*.parquet") if visible(path.relative_to(root)))
    return [path_below(root, path.relative_to(root).as_posix(), root / "data") for path in found]
