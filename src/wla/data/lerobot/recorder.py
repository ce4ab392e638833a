"""Turns the episodes of the episode loop into a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from wla.data.lerobot.writer import DatasetWriter
from wla.types import ActionChunk, Observation, Outcome, StepResult


class DatasetRecorder:
    """A `wla.types.Recorder` that writes every control step as a frame.

    Episodes whose outcome is not in `keep` are dropped. The observation after the last action has no action and is not
    recorded. A frame's subtask is the first one of the chunk in force, and its action the chunk's; whether that was the
    executed one is stored too, and what the environment returned if the writer keeps rewards. The writer is closed by
    its owner.
    """

    def __init__(self, writer: DatasetWriter, *, keep: Sequence[Outcome] = ("success",)) -> None:
        self._writer = writer
        self._keep = frozenset(keep)
        self._seed, self._instruction = 0, ""
        self._action_executed: list[bool] = []

    def start(self, seed: int, instruction: str) -> None:
        self._writer.end_episode("", keep=False)  # an episode that was broken off
        self._seed, self._instruction = seed, instruction
        self._action_executed = []

    def step(
        self,
        observation: Observation,
        action: Float32[np.ndarray, " A"],
        chunk: ActionChunk,
        offset: int,
        result: StepResult | None,
    ) -> None:
        if result is None:
            return  # the step crashed: no frame follows from it
        subtask = chunk.subtasks[0] if chunk.subtasks else ""
        advised = chunk.actions[offset]
        self._action_executed.append(np.array_equal(action, advised))
        recorded = advised if self._writer.with_actions else None
        returned = result if self._writer.with_rewards else None
        self._writer.add_frame(observation.images, observation.state, recorded, subtask, returned)

    def end(self, observation: Observation, outcome: Outcome) -> None:
        action_executed = None if all(self._action_executed) else self._action_executed
        self._writer.end_episode(
            self._instruction,
            keep=outcome in self._keep,
            seed=self._seed,
            success=outcome == "success",
            action_executed=action_executed,
        )
