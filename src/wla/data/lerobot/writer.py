"""Record episodes as a LeRobot v3.0 dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from wla.data.lerobot.format import DONE, IMAGE_PREFIX, INTERVENTION, RESULT_COLUMNS, REWARD, SUCCESS
from wla.data.lerobot.shards import ShardStore
from wla.data.lerobot.staging import EpisodeData
from wla.data.lerobot.stats import image_stats
from wla.data.video import codec
from wla.locks import locked
from wla.signals import defer_signals
from wla.specs import RobotSpec
from wla.types import StepResult


@dataclass
class _Frames:
    """The frames of the running episode."""

    images: dict[str, list[np.ndarray]]
    state: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    subtasks: list[str] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)
    interventions: list[bool] = field(default_factory=list)


class DatasetWriter:
    """Writes episodes of one robot into a folder; an existing dataset of the same robot is continued.

    Finished episodes are kept in memory as encoded video until `shard_frames` frames are together; then they become
    part of the dataset at once, or at `close`. Use it as a context manager: on Ctrl-C or an error the finished episodes
    are saved too, the running one is dropped. The images of the running episode stay in memory as they are.
    """

    def __init__(
        self,
        root: Path | str,
        robot_spec: RobotSpec,
        *,
        with_actions: bool = True,
        with_rewards: bool = False,
        with_interventions: bool = False,
        shard_frames: int = 5000,
    ) -> None:
        """with_rewards: every frame comes with what the environment returned for its action. with_interventions: with
        whether a person acted in the policy's place.

        ValueError when `root` holds something else or another robot's data, when another process writes into it, or
        when a camera has an odd size.
        """
        for camera, (height, width) in robot_spec.observation.cameras.items():
            if height % 2 or width % 2:
                raise ValueError(f"camera {camera!r} is {height}x{width}; H.264 video needs an even height and width")
        self.robot_spec = robot_spec
        self.with_actions, self.with_rewards, self.with_interventions = with_actions, with_rewards, with_interventions
        marks = {**(RESULT_COLUMNS if with_rewards else {}), **({INTERVENTION: "bool"} if with_interventions else {})}
        if Path(root).is_file():
            raise ValueError(f"{root}: exists and is not a dataset; give a new folder")
        with ExitStack() as opened:
            opened.enter_context(locked(Path(root)))
            self._store = ShardStore(Path(root), robot_spec, with_actions=with_actions, marks=marks)
            self._lock = opened.pop_all()
        self._shard_frames = shard_frames
        self._pending: list[EpisodeData] = []
        self._frames = self._empty_frames()

    @property
    def root(self) -> Path:
        return self._store.root

    @property
    def total_episodes(self) -> int:
        """Finished episodes, published or not."""
        return self._store.total_episodes + len(self._pending)

    @property
    def published(self) -> Sequence[tuple[int | None, str]]:
        """Seed and instruction of the episodes that the dataset held when it was opened."""
        return self._store.published

    def add_frame(
        self,
        images: Mapping[str, UInt8[np.ndarray, "H W 3"]],
        state: Float32[np.ndarray, " S"],
        action: Float32[np.ndarray, " A"] | None,
        subtask: str = "",
        result: StepResult | None = None,
        intervention: bool | None = None,
    ) -> None:
        """One control step: images and state, the action taken then, the subtask ('' when unknown), what the
        environment returned for the action, and whether a person took it.

        action must be None exactly when the dataset is action-free, result exactly when it has no rewards, intervention
        when it has no marks of them. ValueError on a wrong shape, dtype or value.
        """
        spec, where = self.robot_spec, f"episode {self.total_episodes}, frame {len(self._frames.state)}"
        if images.keys() != spec.observation.cameras.keys():
            raise ValueError(f"{where}: cameras {list(images)}, the robot has {list(spec.observation.cameras)}")
        for camera, size in spec.observation.cameras.items():
            image = images[camera]
            if image.shape != (*size, 3) or image.dtype != np.uint8:
                raise ValueError(
                    f"{where}: image {camera!r} is {image.dtype} {image.shape}, the robot's is uint8 {(*size, 3)}"
                )
        if (action is not None) != self.with_actions:
            has = "has actions, but the frame has none" if self.with_actions else "is action-free, but an action came"
            raise ValueError(f"{where}: the dataset {has}; see with_actions")
        if (result is not None) != self.with_rewards:
            has = "rewards, but the frame has none" if self.with_rewards else "no rewards, but one came"
            raise ValueError(f"{where}: the dataset has {has}; see with_rewards")
        if (intervention is not None) != self.with_interventions:
            has = "marks of interventions, but the frame has none" if self.with_interventions else "none, but one came"
            raise ValueError(f"{where}: the dataset has {has}; see with_interventions")
        self._frames.state.append(_vector(state, spec.observation.state_dim, f"{where}: state"))
        if action is not None:
            self._frames.actions.append(_vector(action, spec.action.dim, f"{where}: action"))
        for camera, image in images.items():
            self._frames.images[camera].append(image.copy())  # renderers reuse their buffers
        self._frames.subtasks.append(subtask)
        if result is not None:
            self._frames.results.append(result)
        if intervention is not None:
            self._frames.interventions.append(intervention)

    def end_episode(
        self,
        instruction: str,
        *,
        keep: bool,
        seed: int | None = None,
        success: bool | None = None,
        action_executed: Sequence[bool] | None = None,
    ) -> None:
        """Finish the running episode, or drop it (keep False). ValueError when there is nothing to keep.

        success: whether it reached its goal, where that is known. action_executed: for each frame whether its action
        was executed (None: all were).
        """
        frames, self._frames = self._frames, self._empty_frames()
        if not keep:
            return
        if not frames.state:
            raise ValueError(f"{self.root}: episode {self.total_episodes} has no frames; add frames or do not keep it")
        episode = EpisodeData(
            instruction=instruction,
            state=np.stack(frames.state),
            actions=np.stack(frames.actions) if self.with_actions else None,
            subtasks=frames.subtasks,
            marks=_marks(frames),
            videos={
                IMAGE_PREFIX + camera: codec.encode(images, self._store.rate)
                for camera, images in frames.images.items()
            },
            image_stats={IMAGE_PREFIX + camera: image_stats(images) for camera, images in frames.images.items()},
            seed=seed,
            success=success,
            action_executed=action_executed,
        )
        self._pending.append(episode)
        if sum(len(episode.state) for episode in self._pending) >= self._shard_frames:
            self._publish()

    def close(self) -> None:
        """Publish the finished episodes and let others write; the running one is dropped. Can be called again after an
        error."""
        self._frames = self._empty_frames()
        with self._lock:
            if self._pending:
                self._publish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An impatient second Ctrl-C would lose the episodes that the first one is saving.
        with defer_signals() as interrupted:
            self.close()
        if interrupted() and kind is None:
            raise KeyboardInterrupt

    def _empty_frames(self) -> _Frames:
        return _Frames({camera: [] for camera in self.robot_spec.observation.cameras})

    def _publish(self) -> None:
        before = self._store.total_episodes
        try:
            self._store.publish(self._pending)
        finally:
            del self._pending[: self._store.total_episodes - before]


def _marks(frames: _Frames) -> dict[str, Shaped[np.ndarray, " T"]]:
    """The columns with a number per frame, as far as the frames have them."""
    columns = {
        REWARD: [result.reward for result in frames.results],
        DONE: [result.terminated or result.truncated for result in frames.results],
        SUCCESS: [result.success for result in frames.results],
        INTERVENTION: frames.interventions,
    }
    types = {**RESULT_COLUMNS, INTERVENTION: "bool"}
    return {name: np.array(values, types[name]) for name, values in columns.items() if values}


def _vector(values: np.ndarray, dim: int, name: str) -> Float32[np.ndarray, " D"]:
    vector = np.array(values, np.float32)
    if vector.shape != (dim,):
        raise ValueError(f"{name} has shape {vector.shape}, the robot's is ({dim},)")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} has a value that is not finite: {vector}")
    return vector
