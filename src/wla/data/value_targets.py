"""The frames of rollouts with what became of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from wla.data.lerobot.reader import LeRobotDataset
from wla.types import FrameContext


class ValueTargetFrames:
    """The frames of a camera. success bool (N,); left int64 (N,): steps until the end."""

    def __init__(self, dataset: LeRobotDataset, camera: str) -> None:
        """ValueError when an episode does not say whether it succeeded."""
        unknown = [episode.index for episode in dataset.episodes if episode.success is None]
        if unknown:
            raise ValueError(
                f"{dataset.root}: episode {unknown[0]} does not say whether it succeeded; collect with a version that "
                "writes it down (`wla collect`)"
            )
        self.dataset = dataset
        self.images = dataset.frames(camera)
        lengths = [len(episode) for episode in dataset.episodes]
        self.success = np.repeat([bool(episode.success) for episode in dataset.episodes], lengths)
        self.steps_to_go = np.concatenate([np.arange(length)[::-1] for length in lengths]).astype(np.int64)
        self._episode_step = np.concatenate([np.arange(length) for length in lengths]).astype(np.int64)
        unsaid = np.full(len(self.steps_to_go), -1)
        self._subtasks = unsaid if dataset.subtasks is None else dataset.subtasks
        self._subtask_step = _subtask_step(self._subtasks, self._episode_step)

    def frame_contexts(self, rows: Int64[np.ndarray, " B"]) -> list[FrameContext]:
        """What was known at each of these frames."""
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


def _subtask_step(subtasks: Int64[np.ndarray, " N"], elapsed: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
    """Frames since the subtask of each began, or its episode where no frame before says another."""
    places = np.arange(len(subtasks))
    changes = (elapsed == 0) | (np.diff(subtasks, prepend=subtasks[:1]) != 0)
    return places - np.maximum.accumulate(np.where(changes, places, 0))
