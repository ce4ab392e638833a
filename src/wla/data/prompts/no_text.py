"""The prompter of models that read no text: every prompt is empty, and nothing is remembered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from wla.data.memory import MemoryConfig


class NoText:
    """Stands where `wla.data.prompts.nano.Prompter` stands for a model with text."""

    pad: int = 0
    stop: int = 0
    history: int = 0
    predicts_subtasks: bool = False
    memory_up_to_date: bool = False
    memory: MemoryConfig | None = None

    def prompt(
        self,
        instruction: str,
        state: Float[np.ndarray, " S"],
        *,
        memory: Sequence[str] = (),
        current_subtasks: Sequence[str] = (),
        has_history: bool = True,
    ) -> list[int]:
        return []

    def sample(
        self,
        instruction: str,
        state: Float[np.ndarray, " S"],
        subtasks: Sequence[str] | None,
        *,
        memory: Sequence[str] = (),
        current_subtasks: Sequence[str] = (),
        has_history: bool = True,
    ) -> tuple[list[int], list[int]]:
        return [], []

    def previous_frames(self, frame: int, start: int) -> None:
        """None: there is no memory."""

    def answer(self, subtasks: Sequence[str]) -> list[int]:
        return []

    def subtasks(self, tokens: Sequence[int]) -> tuple[str, ...]:
        return ()

    def suffix_after(self, subtask_tokens: Sequence[int]) -> tuple[int, list[int]]:
        return 0, []

    def length(self, text: str) -> int:
        return 0

    def instruction_length(self, instruction: str) -> int:
        return 0
