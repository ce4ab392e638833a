"""Checks of the data files: rows, times, numbers, tasks, subtasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from wla.data.lerobot.columns import TYPES, Columns
from wla.data.lerobot.episode_table import EpisodeRow
from wla.data.lerobot.format import INDEX_COLUMNS, INFO, SUBTASK, TASKS, DatasetInfo
from wla.data.lerobot.frame_rows import OWNER, Rows, find_rows
from wla.data.lerobot.robots import FIX, row_width, several_widths
from wla.data.lerobot.tables import read_schema, read_table, typed
from wla.data.lerobot.timing import Clock, Run, Untimely, irregular, other_rate
from wla.data.lerobot.vectors import joined_name, matrix, vector_names
from wla.data.validation.issues import Issue
from wla.data.validation.numbers import check_range
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
        self.info, self.columns, self.tasks, self.found = info, columns, tasks, found
        self.vectors = {key: info.features[key] for key in (*columns.state, *columns.action)}
        # State and action: the numbers of each episode.
        self.ranges: dict[tuple[str, ...], dict[int, np.ndarray]] = {
            names: {} for names in (columns.state, columns.action) if names
        }
        # Columns with other numbers than stated: their number in every row of an episode, None where it differs.
        self.widths: dict[str, dict[int, int | None]] = {key: {} for key in self.vectors}
        self.wrong: dict[str, list[int]] = {key: [] for key in self.vectors}
        self.without_subtask: dict[int, tuple[int, int]] = {}
        self.other_rates: list[str] = []
        self.clock = Clock(float(info.fps), by_time=bool(info.video_keys))

    def file(self, path: Path, parts: list[tuple[EpisodeRow, int, int]]) -> None:
        """Checks one data file. parts: its episodes, each with its first row and number of rows."""
        optional = [*INDEX_COLUMNS, *([SUBTASK] if SUBTASK in self.info.features else [])]
        try:
            names = read_schema(path).names
            table = read_table(path, [name for name in (*optional, *self.vectors) if name in names])
            for name in TYPES.keys() & set(table.column_names):
                column = typed(table, name, TYPES[name], path, nulls=True)
                table = table.set_column(table.column_names.index(name), name, column)
        except ValueError as error:
            self.found.issues.append(Issue.of(error, parts[0][0][OWNER] if len(parts) == 1 else None))
            return
        for name in self.vectors:
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
        if line := self.clock.gaps_line(run for runs in self.found.runs.values() for run in runs):
            self._warn(None, line, "nothing, if they were left out on purpose")
        if self.other_rates:
            self._error(None, self.other_rates[0], f"correct fps in {INFO}")
        gaps = {episode: count for episode, count in self.without_subtask.items() if count[0]}
        # A dataset without any subtask needs none.
        if any(empty < length for empty, length in self.without_subtask.values()):
            for episode, (empty, length) in gaps.items():
                message = f"{empty} of {length} frames have no {SUBTASK}"
                self._warn(episode, message, "annotate them; no language is learned from them")
        for key, wrong in self.wrong.items():
            if wrong:
                self._numbers_absent(key, wrong)
        for names, episodes in self.ranges.items():
            named = vector_names(self.info, names)
            self.found.issues += check_range(joined_name(names), named, episodes, jumps=names == self.columns.action)
        return self.found

    def _episode(self, table: pa.Table, row: EpisodeRow) -> None:
        episode = row[OWNER]
        self._times(table, episode)
        self._task(table, row)
        found = {key: self._numbers(key, table, episode) for key in self.vectors}
        for names, episodes in self.ranges.items():
            parts = [part for name in names if (part := found[name]) is not None]
            if len(parts) == len(names):
                episodes[episode] = np.concatenate(parts, axis=1)
        if SUBTASK in table.column_names:
            texts = table[SUBTASK].to_pylist()
            self.without_subtask[episode] = (sum(not (t or "").strip() for t in texts), len(texts))

    def _times(self, table: pa.Table, episode: int) -> None:
        """Issues of frames that do not follow each other, or not at the rate of the dataset."""
        fps, start, length = self.clock.fps, np.array([0]), np.array([len(table)])
        index, times = (
            table[name].to_numpy() if name in table.column_names else None for name in ("frame_index", "timestamp")
        )
        late = np.zeros(0, int) if times is None else irregular(times, start, length, 1 / fps)
        if times is not None and late.size and (rate := other_rate(times, fps)):
            self.other_rates.append(rate)
            return
        runs, untimely = self.clock.runs(index, times, start, length)
        self.found.runs.setdefault(episode, [replace(run, episode=episode) for run in runs])
        for problem in untimely:
            self._untimely(problem, episode)
        if times is not None and late.size and not untimely and len(runs) == 1:
            message = f"the timestamps drift from frame {late[0]} on, where it is {times[late[0]]:g} (fps {fps:g})"
            self._warn(episode, message, "nothing: its images lie beside the rows, and are read in their order")

    def _untimely(self, problem: Untimely, episode: int) -> None:
        fix = "restore the missing frames or remove the episode"
        self._error(episode, f"frame {problem.frame}: {problem.message(self.clock.fps)}", fix)

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

    def _numbers(self, key: str, table: pa.Table, episode: int) -> np.ndarray | None:
        """The numbers of a column; None, and an issue, when they are not what the dataset states."""
        if key not in table.column_names:
            return None
        numbers = matrix(table, key, self.vectors[key])
        self.widths[key][episode] = row_width(table[key])
        if numbers is None:
            self.wrong[key].append(episode)
            return None
        bad = np.flatnonzero(~np.isfinite(numbers).all(1))
        if bad.size:
            message = f"{key!r} is not finite in {bad.size} frames, the first is frame {bad[0]}"
            self._error(episode, message, "remove the episode")
            return None
        return numbers

    def _numbers_absent(self, key: str, episodes: list[int]) -> None:
        """The issues of a column that does not have its numbers in these episodes: one where robots are mixed."""
        if mixed := several_widths(key, self.widths[key]):
            self._error(None, mixed, FIX)
            return
        count = " x ".join(map(str, self.vectors[key].shape)) or "1"
        for episode in episodes:
            message = f"{key!r} does not have {count} numbers in every frame, as {INFO} states"
            self._error(episode, message, "restore the file or remove the episode")

    def _error(self, episode: int | None, message: str, fix: str) -> None:
        self.found.issues.append(Issue("error", episode, message, fix))

    def _warn(self, episode: int | None, message: str, fix: str) -> None:
        self.found.issues.append(Issue("warning", episode, message, fix))
