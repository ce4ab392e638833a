"""One action per control step and environment, of a policy that answers in chunks: as LeRobot and gymnasium loops ask.

Each environment of a batch has a state and a queue of its own, so that memory never passes from one to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32

from wla.types import ActionChunk, Observation, Policy


@dataclass(frozen=True)
class _Prediction:
    """A whole chunk that was handed out, and the state before it: the caller knows how much of it is executed."""

    before: Any
    observation: Observation
    chunk: ActionChunk


@dataclass
class _Episode:
    """An environment's episode. queue: the actions to come. pending: the last prediction of `predict_chunks`."""

    instruction: str
    state: Any
    queue: deque[Float32[np.ndarray, " A"]] = field(default_factory=deque)
    pending: _Prediction | None = None


class StepwisePolicy:
    """A policy with the state of every environment of a batch. A changed instruction begins another episode.

    Args:
        policy: the policy that acts.
        replan_steps: number of actions of a chunk to execute before the policy acts again; None for what it advises.
        flow_steps: integration steps of the actions; None for the policy's own.
        new_seed: called for each episode: the seed of its sampling noise.
    """

    def __init__(
        self,
        policy: Policy[Any],
        *,
        replan_steps: int | None = None,
        flow_steps: int | None = None,
        new_seed: Callable[[], int] = lambda: 0,
    ) -> None:
        self.policy = policy
        self._replan_steps, self._flow_steps, self._new_seed = replan_steps, flow_steps, new_seed
        self._episodes: list[_Episode] = []

    def reset(self) -> None:
        """Forgets all episodes; the next call begins others, of any number."""
        self._episodes = []

    def drop_actions(self) -> None:
        """Forgets the queued actions, not the states: the policy acts again at the next step."""
        for episode in self._episodes:
            episode.queue.clear()

    def select_actions(
        self, observations: Sequence[Observation], instructions: Sequence[str]
    ) -> Float32[np.ndarray, "B A"]:
        """The action of this control step for each environment; those without a queued one act, in one batch.

        ValueError for another number of environments than since `reset`, and for what the policy refuses.
        """
        episodes = self._current(instructions)
        for episode in episodes:
            self._settle(episode, None)
        due = [row for row, episode in enumerate(episodes) if not episode.queue]
        answers = self._act([observations[row] for row in due], [episodes[row] for row in due]) if due else []
        for row, (chunk, state) in zip(due, answers, strict=True):
            episodes[row].queue.extend(chunk.actions[: self._executed(chunk)])
            episodes[row].state = state
        for row, episode in enumerate(episodes):
            if row not in due:
                episode.state = self.policy.observe(observations[row], episode.state)
        return np.stack([episode.queue.popleft() for episode in episodes])

    def predict_chunks(
        self,
        observations: Sequence[Observation],
        instructions: Sequence[str],
        *,
        prefix: Float32[np.ndarray, "B p A"] | None = None,
        delay: int | None = None,
    ) -> Float32[np.ndarray, "B n A"]:
        """A whole chunk for each environment, for a caller that executes them itself.

        prefix, delay: see `Policy.act`. The first action of the prefix, found in the chunk before, shows how many were
        executed since; without a prefix the advised number counts. Of the steps in between no image is known: that of
        the call before stands in. ValueError as for `select_actions`.
        """
        episodes = self._current(instructions)
        for row, episode in enumerate(episodes):
            self._settle(episode, None if prefix is None or not prefix.shape[1] else prefix[row, 0])
        answers = self._act(observations, episodes, prefix=prefix, delay=delay)
        for episode, observation, (chunk, state) in zip(episodes, observations, answers, strict=True):
            episode.pending = _Prediction(episode.state, observation, chunk)
            episode.state = state
            episode.queue.clear()
        return np.stack([chunk.actions for chunk, _ in answers])

    def subtasks(self, observations: Sequence[Observation], instructions: Sequence[str]) -> list[tuple[str, ...]]:
        """The subtasks that the policy would predict now; nothing is executed or remembered."""
        return [chunk.subtasks for chunk, _ in self._act(observations, self._current(instructions))]

    def _current(self, instructions: Sequence[str]) -> list[_Episode]:
        if not self._episodes:
            self._episodes = [self._begun(instruction) for instruction in instructions]
        if len(self._episodes) != len(instructions):
            raise ValueError(
                f"{len(instructions)} environments, and {len(self._episodes)} episodes are in progress; reset first"
            )
        for row, (episode, instruction) in enumerate(zip(self._episodes, instructions, strict=True)):
            if episode.instruction != instruction:
                self._episodes[row] = self._begun(instruction)
        return self._episodes

    def _begun(self, instruction: str) -> _Episode:
        return _Episode(instruction, self.policy.reset(instruction, seed=self._new_seed()))

    def _act(
        self, observations: Sequence[Observation], episodes: Sequence[_Episode], **options: Any
    ) -> list[tuple[ActionChunk, Any]]:
        states = [episode.state for episode in episodes]
        return self.policy.act_batch(observations, states, flow_steps=self._flow_steps, **options)

    def _executed(self, chunk: ActionChunk) -> int:
        """Number of the chunk's actions that are executed before the policy acts again."""
        return self._replan_steps or chunk.replan_steps or len(chunk.actions)

    def _settle(self, episode: _Episode, next_action: Float32[np.ndarray, " A"] | None) -> None:
        """Brings the state to after the executed actions of the pending prediction. next_action: the first that is not
        executed yet; None where it is not known."""
        pending, episode.pending = episode.pending, None
        if pending is None:
            return
        executed = self._executed(pending.chunk)
        if next_action is not None:
            found = np.flatnonzero((pending.chunk.actions == next_action).all(axis=1))
            executed = int(found[0]) if found.size else executed
        if not executed:
            episode.state = pending.before
        for _ in range(executed - 1):
            episode.state = self.policy.observe(pending.observation, episode.state)
