"""A policy acts and the expert says what it would do there: recordings of where a policy's own ways lead.

Recordings of experts show few of the places that a policy gets to (Ross et al. 2011, DAgger).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wla.types import ActionChunk, Observation, Outcome, Policy, PolicyState, Recorder

STRETCH = 20
"""Control steps after which it is drawn anew whose turn it is."""
_STREAM = 0x7A11  # sets the turns apart from everything else that is drawn from the same seed


@dataclass(frozen=True)
class SharedState:
    """own: the policy's state. told: what the expert would have been doing so far, in its words. waited: whether the
    policy has not acted since it was last told the truth."""

    own: PolicyState
    told: tuple[str, ...] = ()
    waited: bool = False


class Shared:
    """A policy and an expert that act in turns, drawn by the episode's seed.

    An episode gets as far as the expert brings it, however early the policy would fail. After the expert's turn the
    policy is told what has been done, as it would have remembered it. share: of the turns that are the expert's.
    corrects: whether recordings are to tell what the expert would have done, see `Corrections`.
    """

    def __init__(self, policy: Any, expert: Policy[PolicyState], share: float, *, corrects: bool = True) -> None:
        self._policy, self.expert, self._share = policy, expert, share
        self.corrects = corrects
        self.robot_spec = policy.robot_spec
        self.checkpoint_sha256 = policy.checkpoint_sha256

    def reset(self, instruction: str, *, seed: int = 0) -> SharedState:
        return SharedState(self._policy.reset(instruction, seed=seed))

    def act(self, observation: Observation, state: SharedState) -> tuple[ActionChunk, SharedState]:
        advice, told = self._listen(observation, state)
        if self._is_experts_turn(state):
            return advice, SharedState(self._policy.watch(observation, state.own), told, waited=True)
        own = state.own
        if state.waited:
            own = self._policy.recall(own, memory=told[:-1], window=told[-1:])
        chunk, own = self._policy.act(observation, own)
        return chunk, SharedState(own, told)

    def watch(self, observation: Observation, state: SharedState) -> SharedState:
        _, told = self._listen(observation, state)
        return replace(state, own=self._policy.watch(observation, state.own), told=told)

    def _listen(self, observation: Observation, state: SharedState) -> tuple[ActionChunk, tuple[str, ...]]:
        """What the expert would do now, and its words so far."""
        advice, _ = self.expert.act(observation, state.own)
        new: Sequence[str] = () if state.told[-1:] == advice.subtasks else advice.subtasks
        return advice, (*state.told, *new)

    def _is_experts_turn(self, state: SharedState) -> bool:
        rng = np.random.default_rng([state.own.seed, state.own.time // STRETCH, _STREAM])
        return bool(rng.random() < self._share)


class Corrections:
    """A `Recorder` that tells another one what the expert would have done (chunk) beside what was done (action).

    Where the policy acted, the expert's actions of the following steps are not what it would have done from here on:
    they answer what the policy made of it. Training leaves such windows out (`wla.data.loader`).
    """

    def __init__(self, recorder: Recorder, expert: Policy[PolicyState]) -> None:
        self._recorder, self._expert = recorder, expert

    def start(self, seed: int, instruction: str) -> None:
        self._recorder.start(seed, instruction)

    def step(self, observation: Observation, action: np.ndarray, chunk: ActionChunk, offset: int) -> None:
        advice, _ = self._expert.act(observation, PolicyState(""))
        self._recorder.step(observation, action, advice, 0)

    def end(self, observation: Observation, outcome: Outcome) -> None:
        self._recorder.end(observation, outcome)
