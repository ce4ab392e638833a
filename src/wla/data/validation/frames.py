"""Checks of the data files: indices, times, numbers, subtasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from wla.data.lerobot.columns import Columns, matrix
from wla.data.lerobot.format import INDEX_COLUMNS, INFO, SUBTASK, TASKS, DatasetInfo, read_schema, read_table
from wla.data.validation.episodes import EpisodeRow, files_of
from wla.data.validation.issues import Issue
from wla.data.validation.numbers import check_range
from wla.progress import progress_bar


def check_frames(
    root: Path, info: DatasetInfo, rows: list[EpisodeRow], columns: Columns, *, tasks: int | None
) -> list[Issue]:
    """tasks: how many there are, None when that is not known."""
    check = _FrameCheck(root, info, columns, tasks)
    files = files_of(root, info, rows)
    with progress_bar() as progress:
        for path in progress.track(files, description="reading frames"):
            check.file(path, files[path])
    return check.finish()


class _FrameCheck:
    """Goes through the data files and remembers what only the whole dataset shows."""

    def __init__(self, root: Path, info: DatasetInfo, columns: Columns, tasks: int | None) -> None:
        self.info = info
        self.tasks = tasks
        self.issues: list[Issue] = []
        self.vectors = {
            key: feature.shape[0]
            for key, feature in info.features.items()
            if feature.dtype.startswith(("float", "int")) and len(feature.shape) == 1 and key not in INDEX_COLUMNS
        }
        # Of state and action: of each episode its numbers.
        self.ranges: dict[str, dict[int, np.ndarray]] = {
            key: {} for key in (columns.state, columns.action) if key in self.vectors
        }
        self.action = columns.action
        self.without_subtask: dict[int, tuple[int, int]] = {}
        for name in INDEX_COLUMNS:
            if name not in info.features:
                self._error(None, f"{root / INFO}: feature {name!r} is missing", "restore it")

    def file(self, path: Path, rows: list[EpisodeRow]) -> None:
        """One data file with the episodes that lie in it."""
        wanted = [*INDEX_COLUMNS, *self.vectors, *([SUBTASK] if SUBTASK in self.info.features else [])]
        try:
            names = read_schema(path).names
            table = read_table(path, [name for name in wanted if name in names])
        except ValueError as error:
            episodes = [row["episode_index"] for row in rows]
            self.issues.append(Issue.of(error, episodes[0] if len(episodes) == 1 else None))
            return
        for name in wanted:
            if name not in names and name in self.info.features:
                self._error(None, f"{path}: column {name!r} is missing", "restore the file")
        if "episode_index" not in names:
            return
        owner = table["episode_index"].to_numpy()
        numbers = [row["episode_index"] for row in rows]
        strangers = np.flatnonzero(~np.isin(owner, numbers))
        if strangers.size:
            what = f"{path}: {strangers.size} rows from row {strangers[0]} on are of other episodes"
            self._error(None, what, "restore the file")
        for row in rows:
            places = np.flatnonzero(owner == row["episode_index"])
            if len(places) != row["length"]:
                what = f"{path}: has {len(places)} frames of the episode, meta/episodes says {row['length']}"
                self._error(row["episode_index"], what, "restore the file or remove the episode")
            if not len(places):
                continue
            if places[-1] - places[0] + 1 != len(places):
                self._error(row["episode_index"], f"{path}: its rows do not follow each other", "restore the file")
                continue
            self._episode(table.slice(places[0], len(places)), row)

    def finish(self) -> list[Issue]:
        """What was found, with what the whole dataset shows."""
        gaps = {episode: count for episode, count in self.without_subtask.items() if count[0]}
        # A dataset without any subtask has none to miss.
        if any(empty < length for empty, length in self.without_subtask.values()):
            for episode, (empty, length) in gaps.items():
                what = f"{empty} of {length} frames have no {SUBTASK}"
                self._warn(episode, what, "annotate them; they teach no language")
        for key, episodes in self.ranges.items():
            names = self.info.features[key].names
            self.issues += check_range(key, names, episodes, jumps=key == self.action)
        return self.issues

    def _episode(self, table: pa.Table, row: EpisodeRow) -> None:
        self._indices(table, row)
        for key in self.vectors:
            if key in table.column_names:
                self._numbers(key, table, row["episode_index"])
        if SUBTASK in table.column_names:
            texts = table[SUBTASK].to_pylist()
            self.without_subtask[row["episode_index"]] = (sum(not (t or "").strip() for t in texts), len(texts))

    def _indices(self, table: pa.Table, row: EpisodeRow) -> None:
        """Whether the frames are counted on, and come at the right times."""
        fps, steps = float(self.info.fps), np.arange(len(table))
        expected = {
            "frame_index": (steps, 0.0),
            "index": (row["dataset_from_index"] + steps, 0.0),
            "timestamp": (steps / fps, 0.5 / fps),
        }
        wrong: dict[str, int] = {}
        for name, (wanted, tolerance) in expected.items():
            if name in table.column_names:
                off = np.flatnonzero(~(np.abs(table[name].to_numpy() - wanted) <= tolerance))
                if off.size:
                    wrong[name] = int(off[0])
        if wrong:
            name, frame = min(wrong.items(), key=lambda item: item[1])
            value, right = table[name][frame].as_py(), expected[name][0][frame]
            what = f"frame {frame}: {name} is {value}, it must be {right:g} (fps {fps:g})"
            others = [other for other in wrong if other != name]
            what += f"; {', '.join(others)} also" if others else ""
            self._error(row["episode_index"], what, "restore the missing frames or remove the episode")
        if self.tasks is not None and "task_index" in table.column_names:
            task = table["task_index"].to_numpy()
            off = np.flatnonzero(~((task >= 0) & (task < self.tasks)))
            if off.size:
                what = f"{off.size} frames from frame {off[0]} on have a task_index that is not in {TASKS}"
                self._error(row["episode_index"], what, "restore it")

    def _numbers(self, key: str, table: pa.Table, episode: int) -> None:
        width = self.vectors[key]
        numbers = matrix(table, key, width)
        if numbers is None:
            what = f"{key!r} does not have {width} numbers in every frame, as {INFO} says"
            self._error(episode, what, "restore the file or remove the episode")
            return
        bad = np.flatnonzero(~np.isfinite(numbers).all(1))
        if bad.size:
            what = f"{key!r} is not finite in {bad.size} frames, the first is frame {bad[0]}"
            self._error(episode, what, "remove the episode")
        elif key in self.ranges:
            self.ranges[key][episode] = numbers

    def _error(self, episode: int | None, what: str, todo: str) -> None:
        self.issues.append(Issue("error", episode, what, todo))

    def _warn(self, episode: int | None, what: str, todo: str) -> None:
        self.issues.append(Issue("warning", episode, what, todo))
