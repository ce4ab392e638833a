"""A policy acts and the expert says what it would do there: recordings of where a policy's own ways lead.

Recordings of experts show few of the places that a policy gets to (Ross et al. 2011, DAgger), and none of what other
actions lead to there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from wla.specs import RobotSpec
from wla.types import ActionChunk, Observation, Outcome, Policy, PolicyState, Recorder

STRETCH = 20
"""Control steps after which it is drawn anew whose turn it is."""
ASTRAY = 8
"""Control steps in one direction when the robot moves at random."""
_TURNS, _WAYS = 0x7A11, 0x7A12  # set these apart from everything else that is drawn from the same seed


@dataclass(frozen=True)
class SharedState:
    """own: the policy's state. told: what the expert would have been doing so far, in its words. waited: whether the
    policy has not acted since it was last told the truth."""

    own: PolicyState
    told: tuple[str, ...] = ()
    waited: bool = False


class Shared:
    """A policy and an expert that act in turns, and chance, drawn by the episode's seed.

    An episode gets as far as the expert brings it, however early the policy would fail. After the expert's turn the
    policy is told what has been done, as it would have remembered it. astray: share of the turns in which
    the robot moves at random. share: of the other turns, those of the expert. corrects: whether recordings are to tell
    what the expert would have done, see `Corrections`.
    """

    def __init__(
        self, policy: Any, expert: Policy[PolicyState], share: float, *, astray: float = 0.0, corrects: bool = True
    ) -> None:
        self._policy, self.expert, self._share, self._astray = policy, expert, share, astray
        self.corrects = corrects
        self.robot_spec: RobotSpec = policy.robot_spec
        self.checkpoint_sha256 = policy.checkpoint_sha256

    def reset(self, instruction: str, *, seed: int = 0) -> SharedState:
        return SharedState(self._policy.reset(instruction, seed=seed))

    def act(self, observation: Observation, state: SharedState) -> tuple[ActionChunk, SharedState]:
        advice, told = self._listen(observation, state)
        turn = self._turn(state)
        if turn != "policy":
            chunk = advice if turn == "expert" else self._anywhere(advice, state)
            return chunk, SharedState(self._policy.watch(observation, state.own), told, waited=True)
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

    def _turn(self, state: SharedState) -> Literal["policy", "expert", "chance"]:
        rng = np.random.default_rng([state.own.seed, state.own.time // STRETCH, _TURNS])
        experts, chances = rng.random(2) < (self._share, self._astray)
        return "chance" if chances else "expert" if experts else "policy"

    def _anywhere(self, advice: ActionChunk, state: SharedState) -> ActionChunk:
        """Motion in a direction drawn by chance, with fingers (what is absolute) as the expert would have them."""
        spec = self.robot_spec.action
        rng = np.random.default_rng([state.own.seed, state.own.time, _WAYS])
        # About half of the dimensions rest, so that single directions are often seen alone.
        step = rng.uniform(spec.low, spec.high) * (rng.random(spec.dim) < 0.5)
        step = np.where([kind == "delta" for kind in spec.kinds], step, advice.actions[0]).astype(np.float32)
        return ActionChunk(step[None].repeat(ASTRAY, 0), advice.subtasks)


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
