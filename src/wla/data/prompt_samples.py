"""Prompts and labels of training samples: instruction, memory and subtasks, as they would be when acting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from wla.data.memory import MemoryAugmentation, prune_memory
from wla.data.prompts.kinds import AnyPrompter
from wla.data.window_source import WindowSource


@dataclass
class PromptSampler:
    """Builds the tokens and labels of a window.

    memory_augmentation: errors of the memory in prompts. instruction_dropout: fraction of the samples with an empty
    instruction, for classifier-free guidance. chunk: number of actions, whose subtasks are the labels.
    """

    prompter: AnyPrompter
    chunk: int
    memory_augmentation: MemoryAugmentation = field(default_factory=MemoryAugmentation)
    instruction_dropout: float = 0.0

    def sample(
        self,
        source: WindowSource,
        frame: int,
        state: Float32[np.ndarray, " S"],
        rng: np.random.Generator,
        *,
        has_history: bool,
        replayed: bool,
    ) -> tuple[list[int], list[int]]:
        """Tokens and labels of the window that starts at `frame`.

        state: normalised, after dropout. has_history: whether the images of the past exist. replayed: whether the
        memory is that of a policy that acted on the dataset.
        """
        dropped = rng.random() < self.instruction_dropout
        instruction = source.in_prompt("" if dropped else source.instruction(frame, rng))
        memory, current_subtasks = (
            source.replayed_memory(frame) if replayed else self._labelled_memory(source, frame, has_history, rng)
        )
        last = int(source.end[frame]) - 1
        return self.prompter.sample(
            instruction,
            state,
            source.subtasks(frame, min(frame + self.chunk, last)) or None,
            memory=memory,
            current_subtasks=current_subtasks,
            has_history=has_history,
        )

    def _labelled_memory(
        self, source: WindowSource, frame: int, has_history: bool, rng: np.random.Generator
    ) -> tuple[Sequence[str], Sequence[str]]:
        """Finished subtasks and the subtasks predicted last that a policy would have at this frame, from the labels."""
        config, prompter, augmentation = self.prompter.memory, self.prompter, self.memory_augmentation
        if config is None or source.dataset.subtasks is None:
            return (), ()
        start, last = int(source.start[frame]), int(source.end[frame]) - 1
        previous = prompter.previous_frames(frame, start)
        if previous is not None:
            before = source.subtasks(*previous) if has_history else []
            return prune_memory(before[:-1], config, str, prompter.length), before[-1:]
        predicted_at = frame - int(rng.integers(augmentation.staleness[0], augmentation.staleness[1] + 1))
        if predicted_at < start or rng.random() < augmentation.memory_dropout:
            return (), ()
        finished = augmentation.corrupt(source.subtasks(start, predicted_at)[:-1], rng)
        memory = prune_memory(finished, config, str, prompter.length)
        if rng.random() < augmentation.previous_subtask_dropout:
            return memory, []
        return memory, source.subtasks(predicted_at, min(predicted_at + self.chunk, last))
