"""Checks of the data files: rows, times, numbers, tasks, subtasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from wla.data.lerobot.columns import TYPES, Columns
from wla.data.lerobot.episode_table import EpisodeRow
from wla.data.lerobot.format import INDEX_COLUMNS, INFO, SUBTASK, TASKS, DatasetInfo
from wla.data.lerobot.frame_rows import OWNER, Rows, find_rows
from wla.data.lerobot.tables import read_schema, read_table, typed
from wla.data.lerobot.timing import Run
from wla.data.validation.issues import Issue
from wla.data.validation.numbers import NumberCheck
from wla.data.validation.times import TimeCheck
from wla.progress import progress_bar


@dataclass
class FoundFrames:
    """The rows of the episodes that have all of theirs, the runs of each without gaps, and the issues."""

    rows: Rows
    runs: dict[int, list[Run]] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)


def check_frames(
    root: Path, info: DatasetInfo, rows: list[EpisodeRow], columns: Columns, tasks: Sequence[str] | None
) -> FoundFrames:
    """Checks all data files. tasks: instructions by task_index, None if they are unknown."""
    try:
        found, problems = find_rows(root, info, rows)
    except ValueError as error:
        return FoundFrames({}, issues=[Issue.of(error)])
    check = _FrameCheck(info, columns, tasks, FoundFrames(found))
    for owner, problem in problems:
        check.found.issues.append(Issue.of(problem, owner if isinstance(owner, int) else None))
    files: dict[Path, list[tuple[EpisodeRow, int, int]]] = {}
    for row in rows:
        for path, first, count in found.get(row[OWNER], ()):
            files.setdefault(path, []).append((row, first, count))
    with progress_bar() as progress:
        for path in progress.track(files, description="reading frames"):
            check.file(path, files[path])
    return check.finish()


class _FrameCheck:
    """Checks the data files one by one and collects what only the whole dataset shows."""

    def __init__(self, info: DatasetInfo, columns: Columns, tasks: Sequence[str] | None, found: FoundFrames) -> None:
        self.info, self.tasks, self.found = info, tasks, found
        self.times, self.numbers = TimeCheck(info), NumberCheck(info, columns)
        self.without_subtask: dict[int, tuple[int, int]] = {}

    def file(self, path: Path, parts: list[tuple[EpisodeRow, int, int]]) -> None:
        """Checks one data file. parts: its episodes, each with its first row and number of rows."""
        optional = [*INDEX_COLUMNS, *([SUBTASK] if SUBTASK in self.info.features else [])]
        try:
            names = read_schema(path).names
            table = read_table(path, [name for name in (*optional, *self.numbers.vectors) if name in names])
            for name in TYPES.keys() & set(table.column_names):
                column = typed(table, name, TYPES[name], path, nulls=True)
                table = table.set_column(table.column_names.index(name), name, column)
        except ValueError as error:
            self.found.issues.append(Issue.of(error, parts[0][0][OWNER] if len(parts) == 1 else None))
            return
        for name in self.numbers.vectors:
            if name not in names:
                self._error(None, f"{path}: column {name!r} is missing", "restore the file")
        taken = sum(count for _, _, count in parts)
        if taken < len(table):
            message = f"{path}: {len(table) - taken} of its {len(table)} rows are of no episode that {INFO} counts"
            fix = f"restore the file, or correct total_episodes in {INFO}"
            self.found.issues.append(Issue("error", None, message, fix))
        for row, first, count in parts:
            self._episode(table.slice(first, count), row)

    def finish(self) -> FoundFrames:
        """All issues, including those of the dataset as a whole."""
        self.found.runs = self.times.runs
        self.found.issues += self.times.finish()
        gaps = {episode: count for episode, count in self.without_subtask.items() if count[0]}
        # A dataset without any subtask needs none.
        if any(empty < length for empty, length in self.without_subtask.values()):
            for episode, (empty, length) in gaps.items():
                message = f"{empty} of {length} frames have no {SUBTASK}"
                self._warn(episode, message, "annotate them; no language is learned from them")
        self.found.issues += self.numbers.finish()
        return self.found

    def _episode(self, table: pa.Table, row: EpisodeRow) -> None:
        episode = row[OWNER]
        self.times.episode(table, episode)
        self._task(table, row)
        self.numbers.episode(table, episode)
        if SUBTASK in table.column_names:
            texts = table[SUBTASK].to_pylist()
            self.without_subtask[episode] = (sum(not (t or "").strip() for t in texts), len(texts))

    def _task(self, table: pa.Table, row: EpisodeRow) -> None:
        """Issues of tasks that are not there, and of an episode that is listed with another task than its frames."""
        if self.tasks is None or "task_index" not in table.column_names:
            return
        numbers = table["task_index"].to_numpy()
        bad = np.flatnonzero(~((numbers >= 0) & (numbers < len(self.tasks))))
        if bad.size:
            message = f"{bad.size} frames from frame {bad[0]} on have a task_index that is not in {TASKS}"
            self._error(row[OWNER], message, "restore it")
            return
        own = {self.tasks[int(number)] for number in np.unique(numbers)}
        others = [task for task in row["tasks"] if task not in own]
        if others:
            message = f"meta/episodes has the task {others[0]!r} and its frames have {sorted(own)[0]!r}, which is used"
            self._warn(row[OWNER], message, "correct task_index in its frames, or the task in meta/episodes")

    def _error(self, episode: int | None, message: str, fix: str) -> None:
        self.found.issues.append(Issue("error", episode, message, fix))

    def _warn(self, episode: int | None, message: str, fix: str) -> None:
        self.found.issues.append(Issue("warning", episode, message, fix))
