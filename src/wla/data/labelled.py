"""The frames of rollouts with what became of them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from wla.data.lerobot import LeRobotDataset


class LabelledFrames:
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
        self.left = np.concatenate([np.arange(length)[::-1] for length in lengths]).astype(np.int64)

    def doing(self, rows: Int64[np.ndarray, " B"]) -> list[str]:
        """The subtask of each of these frames, '' where none is known."""
        if self.dataset.subtasks is None:
            return [""] * len(rows)
        texts = self.dataset.subtask_texts
        return [texts[index] if index >= 0 else "" for index in self.dataset.subtasks[rows]]

    def __len__(self) -> int:
        return len(self.success)
