"""Reader of LeRobot v3.0 datasets: those of `DatasetWriter` and those of other programs."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from wla.data.lerobot.camera_frames import CameraFrames
from wla.data.lerobot.cameras import Cameras
from wla.data.lerobot.columns import Columns, find_robot
from wla.data.lerobot.episode_table import Episode, make_episodes, read_episodes, uncounted
from wla.data.lerobot.format import INTERVENTION, ROBOT, SUBTASK, read_info
from wla.data.lerobot.frame_table import FrameTable
from wla.data.lerobot.robots import FIX, several_robots
from wla.data.lerobot.subtasks import read_frame_subtasks
from wla.data.video.random_access import RandomAccessFrames
from wla.specs import ImageFit, RobotSpec


class LeRobotDataset:
    """A dataset of N frames; everything but the images is read into memory and checked on construction.

    robot_spec is None for datasets that other programs recorded, unless `robot` is given: LeRobot does not store units
    and frames, and they are never guessed. Such datasets may have any cameras, and no subtasks; without `action` they
    are action-free, and without a state they are stateless. `columns` names their columns of state, action and cameras.
    Of a camera whose videos are not read as colour images (an unknown codec, depth) `notes` says so, and its frames are
    refused; when this holds of all cameras, the dataset is.

    Subtasks come from one column, `subtask_source`; see `wla.data.lerobot.subtasks`. `notes` are lines about what the
    folder holds and is not read.

    Attributes: columns: those that it has. state float32 (N, S), S 0 without one. actions float32 (N, A), or None.
    rewards float32 (N,), or None: the reward of each frame's action. subtask_texts: the distinct subtasks. subtasks
    int64 (N,): indices into them, -1 where a frame has none; None when no frame has one. task_index int64 (N,): indices
    into instructions. cameras: name -> (height, width) of those that state colour images; cameras outside
    `observation.images.` keep the full name of their feature. robots: those that are named for episodes, tasks or
    frames, with the first episode of each. data_segments: where the rows of each episode lie in the data files.
    """

    def __init__(self, root: Path | str, *, columns: Columns | None = None, robot: RobotSpec | None = None) -> None:
        """ValueError names the file or frame and the remedy when something is absent, damaged or inconsistent, or when
        the dataset is of a different robot than the given one."""
        self.root = Path(root)
        self.info = read_info(self.root)
        self.columns = (columns or Columns()).of_dataset(self.root, self.info)
        self.fps = float(self.info.fps)
        self.robot_spec = find_robot(self.root, self.info, self.columns, robot)
        self._rows, others = read_episodes(self.root, self.info)
        self._cameras = Cameras.find(self.root, self.info, self.columns, self._rows)
        self._opened: dict[str, CameraFrames] = {}
        self.cameras = self._cameras.sizes
        self.notes = [*([uncounted(others, self.info)] if others else []), *self._cameras.notes]
        if not self._rows:
            raise ValueError(f"{self.root}: the dataset has no episodes yet; collect some first")
        self.episodes = make_episodes(self.root, self._rows)
        self._starts = np.array([episode.start for episode in self.episodes])
        table = FrameTable.read(self.root, self.info, self.columns, self._rows, self.frame_id)
        self.instructions, self.task_index = table.instructions, table.task_index
        self.episodes = tuple(table.complete(number, episode) for number, episode in enumerate(self.episodes))
        self.robots = table.robots(self._rows)
        self._runs = table.runs()
        self.notes += [line] if (line := table.clock.gaps_line(self._runs)) else []
        self.data_segments = table.segments
        self.state: Float32[np.ndarray, "N S"] = table.vectors(self.columns.state)
        self.actions: Float32[np.ndarray, "N A"] | None = (
            table.vectors(self.columns.action) if self.columns.action else None
        )
        self.rewards: Float32[np.ndarray, " N"] | None = table.rewards()
        self.interventions: Bool[np.ndarray, " N"] | None = table.interventions()
        """Frames in which a person acted in the policy's place; None where the dataset has no such mark."""
        self.subtasks, self.subtask_texts, self.subtask_source = read_frame_subtasks(
            self.root, table.columns, self.info, self.data_segments
        )
        if self.subtask_source not in (None, SUBTASK):
            self.notes.append(f"its {len(self.subtask_texts)} subtasks are those of the column {self.subtask_source!r}")

    def __len__(self) -> int:
        return self.episodes[-1].end

    @property
    def readable_cameras(self) -> tuple[str, ...]:
        """The cameras whose frames can be read, as far as their headers tell."""
        return tuple(camera for camera in self.cameras if camera not in self._cameras.unreadable)

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the dimensions of the state, S of them."""
        return self.columns.state_names(self.info)

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the dimensions of the actions; none without actions."""
        return self.columns.action_names(self.info)

    def require_robot(self) -> RobotSpec:
        """The robot spec. ValueError, with the command that writes it, when the dataset has none."""
        self.require_one_robot()
        if self.robot_spec is None:
            raise ValueError(
                f"{self.root / ROBOT}: is missing, so that nothing states what the numbers mean; write it with "
                f"`wla data robot {self.root} --kind absolute` (or delta)"
            )
        return self.robot_spec

    def require_one_robot(self) -> None:
        """ValueError when its episodes are stated to be of several robots: what is learned of actions is of one."""
        if mixed := several_robots(self.robots):
            raise ValueError(f"{self.root}: {mixed}; {FIX}")

    def require_interventions(self) -> Bool[np.ndarray, " N"]:
        """True for the frames in which a person acted. ValueError when the dataset does not mark them."""
        if self.interventions is None:
            raise ValueError(f"{self.root}: has no column {INTERVENTION!r}, which marks where a person acted")
        return self.interventions

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

    @cached_property
    def run_start(self) -> Int64[np.ndarray, " N"]:
        """The first frame of each frame's run: the frames of an episode without a gap in their times. N of them."""
        return np.repeat(self._run_starts, [run.length for run in self._runs])

    @cached_property
    def run_end(self) -> Int64[np.ndarray, " N"]:
        """The frame after the last one of each frame's run."""
        lengths = [run.length for run in self._runs]
        return np.repeat(self._run_starts + lengths, lengths)

    @property
    def _run_starts(self) -> Int64[np.ndarray, " R"]:
        return np.array([self.episodes[run.episode].start + run.first for run in self._runs], np.int64)

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
        """Where the frames of a camera lie. ValueError for an unknown one, and one that cannot be read."""
        if camera not in self._opened:
            self._opened[camera] = self._cameras.open(camera, self.episodes, self._rows, self._runs, self.data_segments)
        return self._opened[camera]
