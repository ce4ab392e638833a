"""Frames of rollouts with the targets of the value model: success and steps to go."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.training_frames import Frames, open_training_frames
from wla.types import FrameContext


class ValueTargetFrames:
    """Frames of a camera. images: of their own size, or squares. success: bool (N,), of the episode. steps_to_go: int64
    (N,), until the episode ends."""

    def __init__(self, dataset: LeRobotDataset, camera: str, side: int | None = None) -> None:
        """side: of the squares that training reads, from a cache; None to seek in the files. ValueError when the
        outcome of an episode is unknown."""
        unknown = [episode.index for episode in dataset.episodes if episode.success is None]
        if unknown:
            raise ValueError(
                f"{dataset.root}: the outcome of episode {unknown[0]} is unknown; `wla collect` records outcomes, "
                "collect the episodes again"
            )
        self.dataset = dataset
        self.images: Frames = (
            dataset.random_access_frames(camera)
            if side is None
            else open_training_frames(dataset, {camera: [side]})[camera, side]
        )
        lengths = [len(episode) for episode in dataset.episodes]
        self.success = np.repeat([bool(episode.success) for episode in dataset.episodes], lengths)
        self.steps_to_go = np.concatenate([np.arange(length)[::-1] for length in lengths]).astype(np.int64)
        self._episode_step = np.concatenate([np.arange(length) for length in lengths]).astype(np.int64)
        unlabelled = np.full(len(self.steps_to_go), -1)
        self._subtasks = unlabelled if dataset.subtasks is None else dataset.subtasks
        self._subtask_step = _subtask_step(self._subtasks, self._episode_step)

    def frame_contexts(self, rows: Int64[np.ndarray, " B"]) -> list[FrameContext]:
        """Instruction, subtask and times of each of these frames."""
        texts = self.dataset.subtask_texts
        return [
            FrameContext(
                instruction=self.dataset.episode_of(int(row)).instruction,
                subtask=texts[self._subtasks[row]] if self._subtasks[row] >= 0 else "",
                episode_step=int(self._episode_step[row]),
                subtask_step=int(self._subtask_step[row]),
            )
            for row in rows
        ]

    def __len__(self) -> int:
        return len(self.success)


def _subtask_step(subtasks: Int64[np.ndarray, " N"], episode_step: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
    """Frames since the subtask of each frame began."""
    frames = np.arange(len(subtasks))
    begins = (episode_step == 0) | (np.diff(subtasks, prepend=subtasks[:1]) != 0)
    return frames - np.maximum.accumulate(np.where(begins, frames, 0))
