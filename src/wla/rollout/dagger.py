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

SEGMENT_STEPS = 20
"""Control steps after which it is drawn anew whose turn it is."""
RANDOM_SEGMENT_STEPS = 8
"""Control steps in one direction when the robot moves at random."""
_TURN_STREAM, _DIRECTION_STREAM = (
    0x7A11,
    0x7A12,
)  # set these apart from everything else that is drawn from the same seed


@dataclass(frozen=True)
class MixtureState:
    """own: the policy's state. told: what the expert would have been doing so far, in its words. waited: whether the
    policy has not acted since it was last told the truth."""

    policy_state: PolicyState
    expert_subtasks: tuple[str, ...] = ()
    stale: bool = False


class MixturePolicy:
    """A policy and an expert that act in turns, and chance, drawn by the episode's seed.

    An episode gets as far as the expert brings it, however early the policy would fail. After the expert's turn the
    policy is told what has been done, as it would have remembered it. astray: share of the turns in which
    the robot moves at random. share: of the other turns, those of the expert. corrects: whether recordings are to tell
    what the expert would have done, see `ExpertRelabelRecorder`.
    """

    def __init__(
        self,
        policy: Any,
        expert: Policy[PolicyState],
        expert_fraction: float,
        *,
        random_fraction: float = 0.0,
        relabels: bool = True,
    ) -> None:
        self._policy, self.expert, self._expert_fraction, self._random_fraction = (
            policy,
            expert,
            expert_fraction,
            random_fraction,
        )
        self.relabels = relabels
        self.robot_spec: RobotSpec = policy.robot_spec
        self.checkpoint_sha256 = policy.checkpoint_sha256

    def reset(self, instruction: str, *, seed: int = 0) -> MixtureState:
        return MixtureState(self._policy.reset(instruction, seed=seed))

    def act(self, observation: Observation, state: MixtureState) -> tuple[ActionChunk, MixtureState]:
        expert_chunk, expert_subtasks = self._query_expert(observation, state)
        turn = self._turn(state)
        if turn != "policy":
            chunk = expert_chunk if turn == "expert" else self._random_chunk(expert_chunk, state)
            return chunk, MixtureState(
                self._policy.observe(observation, state.policy_state), expert_subtasks, stale=True
            )
        policy_state = state.policy_state
        if state.stale:
            policy_state = self._policy.with_memory(
                policy_state, memory=expert_subtasks[:-1], window=expert_subtasks[-1:]
            )
        chunk, policy_state = self._policy.act(observation, policy_state)
        return chunk, MixtureState(policy_state, expert_subtasks)

    def observe(self, observation: Observation, state: MixtureState) -> MixtureState:
        _, expert_subtasks = self._query_expert(observation, state)
        return replace(
            state, policy_state=self._policy.observe(observation, state.policy_state), expert_subtasks=expert_subtasks
        )

    def _query_expert(self, observation: Observation, state: MixtureState) -> tuple[ActionChunk, tuple[str, ...]]:
        """What the expert would do now, and its words so far."""
        expert_chunk, _ = self.expert.act(observation, state.policy_state)
        new: Sequence[str] = () if state.expert_subtasks[-1:] == expert_chunk.subtasks else expert_chunk.subtasks
        return expert_chunk, (*state.expert_subtasks, *new)

    def _turn(self, state: MixtureState) -> Literal["policy", "expert", "random"]:
        rng = np.random.default_rng(
            [state.policy_state.seed, state.policy_state.env_step // SEGMENT_STEPS, _TURN_STREAM]
        )
        experts, chances = rng.random(2) < (self._expert_fraction, self._random_fraction)
        return "random" if chances else "expert" if experts else "policy"

    def _random_chunk(self, expert_chunk: ActionChunk, state: MixtureState) -> ActionChunk:
        """Motion in a direction drawn by chance, with fingers (what is absolute) as the expert would have them."""
        spec = self.robot_spec.action
        rng = np.random.default_rng([state.policy_state.seed, state.policy_state.env_step, _DIRECTION_STREAM])
        # About half of the dimensions rest, so that single directions are often seen alone.
        step = rng.uniform(spec.low, spec.high) * (rng.random(spec.dim) < 0.5)
        step = np.where([kind == "delta" for kind in spec.kinds], step, expert_chunk.actions[0]).astype(np.float32)
        return ActionChunk(step[None].repeat(RANDOM_SEGMENT_STEPS, 0), expert_chunk.subtasks)


class ExpertRelabelRecorder:
    """A `Recorder` that tells another one what the expert would have done (chunk) beside what was done (action).

    Where the policy acted, the expert's actions of the following steps are not what it would have done from here on:
    they answer what the policy made of it. Training leaves such windows out (`wla.data.loader`).
    """

    def __init__(self, recorder: Recorder, expert: Policy[PolicyState]) -> None:
        self._recorder, self._expert = recorder, expert

    def start(self, seed: int, instruction: str) -> None:
        self._recorder.start(seed, instruction)

    def step(self, observation: Observation, action: np.ndarray, chunk: ActionChunk, offset: int) -> None:
        expert_chunk, _ = self._expert.act(observation, PolicyState(""))
        self._recorder.step(observation, action, expert_chunk, 0)

    def end(self, observation: Observation, outcome: Outcome) -> None:
        self._recorder.end(observation, outcome)
