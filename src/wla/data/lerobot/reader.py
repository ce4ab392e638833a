"""Reader of LeRobot v3.0 datasets: those of `DatasetWriter` and those of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64, UInt8

from wla.data.lerobot.camera_frames import CameraFrames
from wla.data.lerobot.columns import TYPES, Columns, require_robot
from wla.data.lerobot.format import (
    IMAGE_PREFIX,
    INDEX_COLUMNS,
    INFO,
    REWARD,
    ROBOT,
    SUBTASK,
    frame_rate,
    read_episodes,
    read_info,
    read_tasks,
)
from wla.data.lerobot.language import index_texts, subtask_texts
from wla.data.lerobot.tables import read_table, typed
from wla.data.lerobot.vectors import matrix, vector_names, width
from wla.data.video.frame_files import FileSegment
from wla.data.video.random_access import RandomAccessFrames
from wla.foreign import one_line, path_below
from wla.specs import ImageFit, RobotSpec


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


class LeRobotDataset:
    """A dataset of N frames; everything but the images is read into memory and checked on construction.

    robot_spec is None for datasets that other programs recorded, unless `robot` is given: LeRobot does not store units
    and frames, and they are never guessed. Such datasets may have any cameras, and no subtasks; without `action` they
    are action-free, and without a state they are stateless. `columns` names their columns of state, action and cameras.

    Subtasks come from our own column `subtask_text` if it has a text in any frame, else from LeRobot's
    `language_persistent`; the two are never mixed.

    Attributes: columns: those that it has. state float32 (N, S), S 0 without one. actions float32 (N, A), or None.
    rewards float32 (N,), or None: the reward of each frame's action. subtask_texts: the distinct subtasks. subtasks
    int64 (N,): indices into them, -1 where a frame has none; None when no frame has one. task_index int64 (N,): indices
    into instructions. cameras: name -> (height, width); cameras outside `observation.images.` keep the full name of
    their feature.
    """

    def __init__(self, root: Path | str, *, columns: Columns | None = None, robot: RobotSpec | None = None) -> None:
        """ValueError names the file or frame and the remedy when something is absent, damaged or inconsistent, or when
        the dataset is of a different robot than the given one."""
        self.root = Path(root)
        self.info = read_info(self.root)
        self.columns = (columns or Columns()).of_dataset(self.root, self.info)
        self.fps = float(self.info.fps)
        self._camera_features = self.columns.camera_features(self.root, self.info)
        self._opened: dict[str, CameraFrames] = {}
        self.cameras = {
            camera: self.info.image_size(self.root, key)
            for camera, key in self._camera_features.items()
            if self.info.is_colour(key)
        }
        for name in INDEX_COLUMNS:
            if name not in self.info.features:
                raise ValueError(f"{self.root / INFO}: feature {name!r} is missing; restore it")
        self.robot_spec = self._robot(robot)
        self._rows = read_episodes(self.root, self.info)
        if not self._rows:
            raise ValueError(f"{self.root}: the dataset has no episodes yet; collect some first")
        self.instructions = tuple(read_tasks(self.root))
        self.episodes = _episodes(self.root, self._rows)
        self._starts = np.array([episode.start for episode in self.episodes])
        table = self._read_frames()
        self.state: Float32[np.ndarray, "N S"] = self._joined(table, self.columns.state)
        self.actions: Float32[np.ndarray, "N A"] | None = (
            self._joined(table, self.columns.action) if self.columns.action else None
        )
        self.rewards: Float32[np.ndarray, " N"] | None = (
            table[REWARD].to_numpy().astype(np.float32) if REWARD in table.column_names else None
        )
        self.task_index: Int64[np.ndarray, " N"] = table["task_index"].to_numpy()
        self._check_frames(table)
        self.subtasks, self.subtask_texts = index_texts(self._texts(table))

    def __len__(self) -> int:
        return self.episodes[-1].end

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the dimensions of the state, S of them."""
        return vector_names(self.info, self.columns.state)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the dimensions of the actions; none without actions."""
        return vector_names(self.info, self.columns.action)

    def require_robot(self) -> RobotSpec:
        """The robot spec. ValueError, with the command that writes it, when the dataset has none."""
        if self.robot_spec is None:
            raise ValueError(
                f"{self.root / ROBOT}: is missing, so that nothing states what the numbers mean; write it with "
                f"`wla data robot {self.root} --kind absolute` (or delta)"
            )
        return self.robot_spec

    def episode_of(self, index: int) -> Episode:
        """The episode of frame `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.root}: frame {index} of {len(self)}")
        return self.episodes[int(np.searchsorted(self._starts, index, side="right")) - 1]

    @property
    def action_executed(self) -> Bool[np.ndarray, " N"]:
        """True for the frames whose recorded action was executed."""
        return np.concatenate(
            [
                np.ones(len(episode), bool) if episode.action_executed is None else np.array(episode.action_executed)
                for episode in self.episodes
            ]
        )

    def frame_id(self, index: int) -> str:
        """Name of a frame in messages, e.g. 'data/place episode 12 frame 3'."""
        episode = self.episode_of(index)
        return f"{self.root} episode {episode.index} frame {index - episode.start}"

    def frames(self, camera: str, side: int | None = None, fit: ImageFit = "pad") -> UInt8[np.ndarray, "N H W 3"]:
        """All frames of a camera, memory-mapped and read-only; decoded on first use into `ROOT/.cache`.

        side: pixels of square images, resized as for training; None for the camera's own size. fit: how they become
        squares. ValueError for an unknown camera, a damaged video, or when the folder cannot hold the cache.
        """
        return self.camera_frames(camera).cache(side, fit).open()

    def random_access_frames(self, camera: str) -> RandomAccessFrames:
        """All frames of a camera, read from its files when they are indexed, without a cache.

        ValueError as for `frames`; a damaged file is found when it is read.
        """
        return self.camera_frames(camera).random_access

    def camera_frames(self, camera: str) -> CameraFrames:
        """Where the frames of a camera lie. ValueError for an unknown one."""
        if camera not in self.cameras:
            what = (
                "no camera" if camera not in self._camera_features else "only colour images can be read, not those of"
            )
            raise ValueError(f"{self.root}: {what} {camera!r}; the dataset has {list(self.cameras)}")
        if camera not in self._opened:
            key = self._camera_features[camera]
            is_video = key in self.info.video_keys
            self._opened[camera] = CameraFrames(
                self.root,
                key.removeprefix(IMAGE_PREFIX),  # the same cache under any name of the camera
                key,
                self.cameras[camera],
                self._video_segments(key) if is_video else self.data_segments(),
                frame_rate(self.fps),
                is_video,
            )
        return self._opened[camera]

    def _video_segments(self, key: str) -> list[FileSegment]:
        """The segment of a video file that holds the frames of each episode."""
        segments = []
        for episode, row in zip(self.episodes, self._rows, strict=True):
            first = round(row[f"videos/{key}/from_timestamp"] * self.fps)
            path = self.info.video_file(self.root, row, key)
            segments.append(FileSegment(path, first, episode.start, len(episode)))
        return segments

    def data_segments(self) -> list[FileSegment]:
        """The segment of a data file that holds the rows of each episode."""
        counts: dict[Path, int] = {}
        segments = []
        for episode, row in zip(self.episodes, self._rows, strict=True):
            path = self.info.data_file(self.root, row)
            segments.append(FileSegment(path, counts.get(path, 0), episode.start, len(episode)))
            counts[path] = counts.get(path, 0) + len(episode)
        return segments

    def _robot(self, given: RobotSpec | None) -> RobotSpec | None:
        path = path_below(self.root, ROBOT, self.root)
        own = RobotSpec.load(path) if path.is_file() else None
        if own is not None and given is not None:
            own.require_equal(given, ours=str(self.root), theirs="the given robot")
        spec = own or given
        if spec is not None:
            require_robot(self.root, self.info, self.columns, spec, given=own is None)
        return spec

    def _read_frames(self) -> pa.Table:
        """The columns of all frames. ValueError when a file does not have the rows that meta/episodes counts."""
        optional = [name for name in (SUBTASK,) if name in self.info.features]
        if REWARD in self.info.features and self.info.features[REWARD].shape == (1,):
            optional.append(REWARD)
        columns = list(dict.fromkeys((*self.columns.state, *self.columns.action, *optional, *INDEX_COLUMNS)))
        counts = {segment.path: segment.first + segment.length for segment in self.data_segments()}
        tables = []
        for path, count in counts.items():
            table = read_table(path, columns, rows=count)
            for name in {*columns} & TYPES.keys():
                column = typed(table, name, TYPES[name], path, nulls=name in (REWARD, SUBTASK))
                table = table.set_column(table.column_names.index(name), name, column)
            tables.append(table)
        try:
            return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        except pa.ArrowException as error:
            raise ValueError(
                f"{self.root / 'data'}: columns of its files have different types ({one_line(error)}); restore them"
            ) from error

    def _texts(self, table: pa.Table) -> Sequence[str | None]:
        files: dict[Path, list[tuple[int, int]]] = {}
        for segment in self.data_segments():
            files.setdefault(segment.path, []).append((segment.first, segment.length))
        return subtask_texts(table, self.info, files, self.fps)

    def _joined(self, table: pa.Table, columns: Sequence[str]) -> np.ndarray:
        parts = [self._matrix(table, key) for key in columns]
        return np.concatenate([np.zeros((len(self), 0), np.float32), *parts], axis=1)

    def _matrix(self, table: pa.Table, key: str) -> np.ndarray:
        shape = self.info.features[key].shape
        numbers = matrix(table, key, width(self.info.features[key]))
        if numbers is None:
            raise ValueError(
                f"{self.root}: {key!r} does not have {shape} numbers in every frame, as {INFO} states; restore the file"
            )
        bad = np.flatnonzero(~np.isfinite(numbers).all(1))
        if bad.size:
            raise ValueError(
                f"{self.frame_id(int(bad[0]))}: {key!r} is not finite: {numbers[bad[0]]}; remove the episode"
            )
        return numbers

    def _check_frames(self, table: pa.Table) -> None:
        lengths = [len(episode) for episode in self.episodes]
        within = np.arange(len(self)) - np.repeat(self._starts, lengths)
        expected: dict[str, tuple[np.ndarray, float]] = {
            "index": (np.arange(len(self)), 0),
            "frame_index": (within, 0),
            "episode_index": (np.repeat([episode.index for episode in self.episodes], lengths), 0),
            # Half a frame: float32 seconds are that precise for hours, and a wrong rate is found at the second frame.
            "timestamp": (within / self.fps, 0.5 / self.fps),
        }
        for name, (correct, tolerance) in expected.items():
            values = table[name].to_numpy()
            wrong = np.flatnonzero(~(np.abs(values - correct) <= tolerance))
            if wrong.size:
                first = int(wrong[0])
                raise ValueError(
                    f"{self.frame_id(first)}: {name} is {values[first]}, it must be {correct[first]:g} (fps "
                    f"{self.fps:g}); restore the data files or correct {INFO}"
                )
        wrong = np.flatnonzero((self.task_index < 0) | (self.task_index >= len(self.instructions)))
        if wrong.size:
            first = int(wrong[0])
            raise ValueError(
                f"{self.frame_id(first)}: task_index {self.task_index[first]} is not in meta/tasks.parquet; restore it"
            )


def _episodes(root: Path, rows: Sequence[dict[str, Any]]) -> tuple[Episode, ...]:
    episodes: list[Episode] = []
    for number, row in enumerate(rows):
        start, end = row["dataset_from_index"], row["dataset_to_index"]
        expected = episodes[-1].end if episodes else 0
        if row["episode_index"] != number or start != expected or end - start != row["length"] or end <= start:
            raise ValueError(
                f"{root}/meta/episodes: episode {number} spans frames {start}..{end}, length {row['length']}, "
                f"after {expected} frames; episodes must follow each other, restore the file"
            )
        if not row["tasks"]:
            raise ValueError(f"{root}/meta/episodes: episode {number} has no task; give it one")
        action_executed = row.get("action_executed")
        if action_executed is not None and len(action_executed) != end - start:
            raise ValueError(
                f"{root}/meta/episodes: episode {number} has {end - start} frames and {len(action_executed)} values of "
                "action_executed; restore the file"
            )
        executed = None if action_executed is None else tuple(action_executed)
        episodes.append(Episode(number, start, end, row["tasks"][0], row.get("seed"), row.get("success"), executed))
    return tuple(episodes)
