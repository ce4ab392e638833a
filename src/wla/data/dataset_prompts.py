"""Prompts of a dataset's frames, for training loops that read images, states and actions themselves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int64

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.memory import MemoryAugmentation
from wla.data.prompt_samples import PromptSampler
from wla.data.prompts.kinds import AnyPrompter
from wla.data.window_source import WindowSource, chunk_starts


class DatasetPrompts:
    """Instruction, memory and subtasks of the windows of a dataset, as `WindowSampler` has them.

    trainable bool (N,): the frames whose whole chunk was executed; what follows others is not what their actions cause.
    """

    def __init__(
        self, dataset: LeRobotDataset, prompter: AnyPrompter, chunk: int, augmentation: MemoryAugmentation | None = None
    ) -> None:
        """chunk: number of actions of a window. augmentation: errors of the memory, the usual ones by default."""
        lengths = [len(episode) for episode in dataset.episodes]
        starts = chunk_starts(dataset, 0, chunk)
        self.trainable: Bool[np.ndarray, " N"] = np.isin(np.arange(len(dataset)), starts)
        self._source = WindowSource(
            dataset=dataset,
            frames={},
            state=dataset.state,
            actions=None,
            start=np.repeat([episode.start for episode in dataset.episodes], lengths),
            valid_starts=starts,
            paraphrases={},
            memory_replay=None,
        )
        self._prompts = PromptSampler(prompter, chunk, augmentation or MemoryAugmentation())

    @property
    def dataset(self) -> LeRobotDataset:
        return self._source.dataset

    def sample(
        self,
        frames: Int64[np.ndarray, " B"],
        state: Float32[np.ndarray, "B S"],
        has_history: Bool[np.ndarray, " B"],
        rng: np.random.Generator,
    ) -> list[tuple[list[int], list[int]]]:
        """Tokens and labels of the windows from these frames on. state: normalised. has_history: whether the image of
        the past lies within the episode."""
        return [
            self._prompts.sample(self._source, int(frame), values, rng, has_history=bool(past), replayed=False)
            for frame, values, past in zip(frames, state, has_history, strict=True)
        ]
