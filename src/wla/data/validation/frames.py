"""Checks of the data files: indices, times, numbers, subtasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from wla.data.lerobot.columns import TYPES, Columns
from wla.data.lerobot.format import INDEX_COLUMNS, INFO, SUBTASK, TASKS, DatasetInfo
from wla.data.lerobot.tables import count_rows, read_schema, read_table, typed
from wla.data.lerobot.vectors import joined_name, matrix, vector_names, width
from wla.data.validation.episodes import EpisodeRow, files_of
from wla.data.validation.issues import Issue
from wla.data.validation.numbers import check_range
from wla.progress import progress_bar


def check_frames(
    root: Path, info: DatasetInfo, rows: list[EpisodeRow], columns: Columns, *, tasks: int | None
) -> list[Issue]:
    """Issues of all data files. tasks: number of tasks, None if it is unknown."""
    check = _FrameCheck(root, info, columns, tasks)
    try:
        files = files_of(root, info, rows)
    except ValueError as error:
        return [*check.finish(), Issue.of(error)]
    with progress_bar() as progress:
        for path in progress.track(files, description="reading frames"):
            check.file(path, files[path])
    return check.finish()


class _FrameCheck:
    """Checks the data files one by one and collects what only the whole dataset shows."""

    def __init__(self, root: Path, info: DatasetInfo, columns: Columns, tasks: int | None) -> None:
        self.info = info
        self.tasks = tasks
        self.issues: list[Issue] = []
        self.columns = columns
        self.vectors = {key: width(info.features[key]) for key in (*columns.state, *columns.action)}
        # State and action: the numbers of each episode.
        self.ranges: dict[tuple[str, ...], dict[int, np.ndarray]] = {
            names: {} for names in (columns.state, columns.action) if names
        }
        self.without_subtask: dict[int, tuple[int, int]] = {}
        for name in INDEX_COLUMNS:
            if name not in info.features:
                self._error(None, f"{root / INFO}: feature {name!r} is missing", "restore it")

    def file(self, path: Path, rows: list[EpisodeRow]) -> None:
        """Checks one data file with the episodes that are in it."""
        expected = [*INDEX_COLUMNS, *self.vectors, *([SUBTASK] if SUBTASK in self.info.features else [])]
        counted = sum(row["length"] for row in rows)
        try:
            if (found := count_rows(path)) > 10 * counted + 1000:  # not worth the memory
                raise ValueError(f"{path}: has {found} rows, meta/episodes counts {counted}; restore the file")
            names = read_schema(path).names
            table = read_table(path, [name for name in expected if name in names])
            for name in TYPES.keys() & set(table.column_names):
                column = typed(table, name, TYPES[name], path, nulls=True)
                table = table.set_column(table.column_names.index(name), name, column)
        except ValueError as error:
            episodes = [row["episode_index"] for row in rows]
            self.issues.append(Issue.of(error, episodes[0] if len(episodes) == 1 else None))
            return
        for name in expected:
            if name not in names and name in self.info.features:
                self._error(None, f"{path}: column {name!r} is missing", "restore the file")
        if "episode_index" not in names:
            return
        owner = table["episode_index"].to_numpy()
        numbers = [row["episode_index"] for row in rows]
        foreign = np.flatnonzero(~np.isin(owner, numbers))
        if foreign.size:
            message = f"{path}: {foreign.size} rows from row {foreign[0]} on are of other episodes"
            self._error(None, message, "restore the file")
        for row in rows:
            indices = np.flatnonzero(owner == row["episode_index"])
            if len(indices) != row["length"]:
                message = f"{path}: has {len(indices)} frames of the episode, meta/episodes has {row['length']}"
                self._error(row["episode_index"], message, "restore the file or remove the episode")
            if not len(indices):
                continue
            if indices[-1] - indices[0] + 1 != len(indices):
                self._error(row["episode_index"], f"{path}: its rows do not follow each other", "restore the file")
                continue
            self._episode(table.slice(indices[0], len(indices)), row)

    def finish(self) -> list[Issue]:
        """All issues, including those of the dataset as a whole."""
        gaps = {episode: count for episode, count in self.without_subtask.items() if count[0]}
        # A dataset without any subtask needs none.
        if any(empty < length for empty, length in self.without_subtask.values()):
            for episode, (empty, length) in gaps.items():
                message = f"{empty} of {length} frames have no {SUBTASK}"
                self._warn(episode, message, "annotate them; no language is learned from them")
        for names, episodes in self.ranges.items():
            named = vector_names(self.info, names)
            self.issues += check_range(joined_name(names), named, episodes, jumps=names == self.columns.action)
        return self.issues

    def _episode(self, table: pa.Table, row: EpisodeRow) -> None:
        self._indices(table, row)
        found = {key: self._numbers(key, table, row["episode_index"]) for key in self.vectors}
        for names, episodes in self.ranges.items():
            parts = [part for name in names if (part := found[name]) is not None]
            if len(parts) == len(names):
                episodes[row["episode_index"]] = np.concatenate(parts, axis=1)
        if SUBTASK in table.column_names:
            texts = table[SUBTASK].to_pylist()
            self.without_subtask[row["episode_index"]] = (sum(not (t or "").strip() for t in texts), len(texts))

    def _indices(self, table: pa.Table, row: EpisodeRow) -> None:
        """Issues of indices, timestamps and tasks."""
        fps, steps = float(self.info.fps), np.arange(len(table))
        expected = {
            "frame_index": (steps, 0.0),
            "index": (row["dataset_from_index"] + steps, 0.0),
            "timestamp": (steps / fps, 0.5 / fps),
        }
        wrong: dict[str, int] = {}
        for name, (values, tolerance) in expected.items():
            if name in table.column_names:
                bad = np.flatnonzero(~(np.abs(table[name].to_numpy() - values) <= tolerance))
                if bad.size:
                    wrong[name] = int(bad[0])
        if wrong:
            name, frame = min(wrong.items(), key=lambda item: item[1])
            value, correct = table[name][frame].as_py(), expected[name][0][frame]
            message = f"frame {frame}: {name} is {value}, it must be {correct:g} (fps {fps:g})"
            others = [other for other in wrong if other != name]
            message += f"; {', '.join(others)} also" if others else ""
            self._error(row["episode_index"], message, "restore the missing frames or remove the episode")
        if self.tasks is not None and "task_index" in table.column_names:
            task = table["task_index"].to_numpy()
            bad = np.flatnonzero(~((task >= 0) & (task < self.tasks)))
            if bad.size:
                message = f"{bad.size} frames from frame {bad[0]} on have a task_index that is not in {TASKS}"
                self._error(row["episode_index"], message, "restore it")

    def _numbers(self, key: str, table: pa.Table, episode: int) -> np.ndarray | None:
        """The numbers of a column; None, and an issue, when they are not what the dataset states."""
        if key not in table.column_names:
            return None
        count = self.vectors[key]
        numbers = matrix(table, key, count)
        if numbers is None:
            message = f"{key!r} does not have {count} numbers in every frame, as {INFO} states"
            self._error(episode, message, "restore the file or remove the episode")
            return None
        bad = np.flatnonzero(~np.isfinite(numbers).all(1))
        if bad.size:
            message = f"{key!r} is not finite in {bad.size} frames, the first is frame {bad[0]}"
            self._error(episode, message, "remove the episode")
            return None
        return numbers

    def _error(self, episode: int | None, message: str, fix: str) -> None:
        self.issues.append(Issue("error", episode, message, fix))

    def _warn(self, episode: int | None, message: str, fix: str) -> None:
        self.issues.append(Issue("warning", episode, message, fix))
