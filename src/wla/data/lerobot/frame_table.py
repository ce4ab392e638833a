"""The columns of all frames of a dataset, in the order of its episodes: numbers, tasks and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from wla.data.lerobot.columns import Columns
from wla.data.lerobot.episode_table import ROBOT_TYPE, Episode, EpisodeRow
from wla.data.lerobot.format import EXECUTED, INFO, INTERVENTION, REWARD, SEED, SUCCEEDED, DatasetInfo
from wla.data.lerobot.frame_columns import read_columns
from wla.data.lerobot.frame_rows import row_segments
from wla.data.lerobot.robots import FIX, common_width, first_episodes, row_widths, several_widths, task_robots
from wla.data.lerobot.text_table import read_tasks
from wla.data.lerobot.timing import Clock, Run, irregular, other_rate
from wla.data.lerobot.vectors import matrix
from wla.data.video.frame_files import FileSegment


@dataclass(frozen=True)
class FrameTable:
    """N frames of E episodes.

    segments: their rows in the data files, in order. starts, lengths: of the episodes. columns: what was read of the
    files. frame_id: name of a frame in messages.
    """

    root: Path
    info: DatasetInfo
    segments: Sequence[FileSegment]
    starts: Int64[np.ndarray, " E"]
    lengths: Int64[np.ndarray, " E"]
    columns: pa.Table
    instructions: tuple[str, ...]
    task_index: Int64[np.ndarray, " N"]
    frame_id: Callable[[int], str]

    @classmethod
    def read(
        cls,
        root: Path,
        info: DatasetInfo,
        names: Columns,
        rows: Sequence[EpisodeRow],
        frame_id: Callable[[int], str],
    ) -> FrameTable:
        """ValueError when rows are absent, or columns have other types."""
        lengths = np.array([row["length"] for row in rows])
        starts = np.cumsum(lengths) - lengths
        instructions = tuple(read_tasks(root))
        segments = row_segments(root, info, rows)
        columns = read_columns(root, info, names, segments)
        task_index = _task_index(root, columns, rows, instructions, frame_id)
        return cls(root, info, segments, starts, lengths, columns, instructions, task_index, frame_id)

    def runs(self) -> list[Run]:
        """The runs of frames without gaps of all episodes. ValueError when frames do not follow each other at the
        rate."""
        fps, names = float(self.info.fps), self.columns.column_names
        index, times = (
            self.columns[name].to_numpy() if name in names else None for name in ("frame_index", "timestamp")
        )
        if (
            times is not None
            and irregular(times, self.starts, self.lengths, 1 / fps).size
            and (rate := other_rate(times, fps))
        ):
            raise ValueError(f"{self.root}: {rate}; correct {INFO}")
        runs, untimely = self.clock.runs(index, times, self.starts, self.lengths)
        if untimely:
            first = untimely[0]
            raise ValueError(
                f"{self.frame_id(int(self.starts[first.episode]) + first.frame)}: {first.message(fps)}; restore the "
                f"data files or correct {INFO}"
            )
        return runs

    @property
    def clock(self) -> Clock:
        return Clock(float(self.info.fps), by_time=bool(self.info.video_keys))

    def vectors(self, names: Sequence[str]) -> Float32[np.ndarray, "N D"]:
        """Columns of numbers, joined. ValueError when one does not have its numbers in every frame, all finite."""
        parts = [self._matrix(name) for name in names]
        return np.concatenate([np.zeros((len(self.columns), 0), np.float32), *parts], axis=1)

    def robots(self, rows: Sequence[EpisodeRow]) -> dict[str, int]:
        """The robots that episodes, tasks or frames name -> number of the first episode of each.

        rows: of `meta/episodes`.
        """
        tasks = task_robots(self.root)
        named = [(row.get(ROBOT_TYPE), number) for number, row in enumerate(rows)]
        if tasks:
            named += [(tasks.get(int(self.task_index[start])), number) for number, start in enumerate(self.starts)]
        if ROBOT_TYPE in self.columns.column_names:
            texts, first = np.unique(self.columns[ROBOT_TYPE].fill_null("").to_numpy().astype(str), return_index=True)
            episodes = np.searchsorted(self.starts, first, side="right") - 1
            named += list(zip(texts.tolist(), episodes.tolist(), strict=True))
        return first_episodes(named)

    def rewards(self) -> Float32[np.ndarray, " N"] | None:
        if REWARD not in self.columns.column_names:
            return None
        return self.columns[REWARD].to_numpy().astype(np.float32)

    def interventions(self) -> Bool[np.ndarray, " N"] | None:
        if INTERVENTION not in self.columns.column_names:
            return None
        return np.array([bool(mark) for mark in self.columns[INTERVENTION].to_pylist()])

    def complete(self, number: int, episode: Episode) -> Episode:
        """An episode with its instruction and what its frames state of it, where `meta/episodes` does not."""
        start, length = int(self.starts[number]), int(self.lengths[number])
        found: dict[str, Any] = {"instruction": self.instructions[self.task_index[start]]}
        names = self.columns.column_names
        if episode.seed is None and SEED in names and (seed := self.columns[SEED][start].as_py()) >= 0:
            found["seed"] = seed
        if episode.success is None and SUCCEEDED in names and (success := self.columns[SUCCEEDED][start].as_py()) >= 0:
            found["success"] = bool(success)
        if episode.action_executed is None and EXECUTED in names:
            executed = self.columns[EXECUTED].slice(start, length).to_pylist()
            found["action_executed"] = None if all(executed) else tuple(executed)
        return replace(episode, **found)

    def _matrix(self, name: str) -> Float32[np.ndarray, "N D"]:
        feature = self.info.features[name]
        numbers = matrix(self.columns, name, feature)
        if numbers is None:
            widths = row_widths(self.columns[name])
            mixed = None if widths is None else several_widths(name, self._by_episode(widths))
            if mixed:
                raise ValueError(f"{self.root}: {mixed}; {FIX}")
            raise ValueError(
                f"{self.root}: {name!r} does not have {feature.shape} numbers in every frame, as {INFO} states; "
                "restore the file"
            )
        bad = np.flatnonzero(~np.isfinite(numbers).all(1))
        if bad.size:
            raise ValueError(
                f"{self.frame_id(int(bad[0]))}: {name!r} is not finite: {numbers[bad[0]]}; remove the episode"
            )
        return numbers

    def _by_episode(self, widths: Int64[np.ndarray, " N"]) -> dict[int, int | None]:
        """The width of each episode's rows, None where they differ."""
        parts = np.split(widths, self.starts[1:])
        return {number: common_width(part) for number, part in enumerate(parts)}


def _task_index(
    root: Path,
    columns: pa.Table,
    rows: Sequence[EpisodeRow],
    instructions: Sequence[str],
    frame_id: Callable[[int], str],
) -> Int64[np.ndarray, " N"]:
    """The task of each frame: its own or, in data without tasks, that of `meta/episodes`."""
    if "task_index" in columns.column_names:
        values = columns["task_index"].to_numpy()
    else:
        numbers = {text: number for number, text in reversed(list(enumerate(instructions)))}
        values = np.repeat([_only_task(root, row, numbers) for row in rows], [row["length"] for row in rows])
    wrong = np.flatnonzero((values < 0) | (values >= len(instructions)))
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(f"{frame_id(first)}: task_index {values[first]} is not in meta/tasks.parquet; restore it")
    return values


def _only_task(root: Path, row: EpisodeRow, numbers: Mapping[str, int]) -> int:
    known = [numbers[text] for text in row["tasks"] if text in numbers]
    if len(known) == len(row["tasks"]) == 1 or (not row["tasks"] and len(numbers) == 1):
        return [*known, 0][0]
    raise ValueError(
        f"{root}: episode {row['episode_index']} has no task: its frames have no task_index, and meta/episodes names "
        f"{row['tasks'] or 'none'}; add the column"
    )
