"""DAgger (Ross et al. 2011): a policy acts and an expert labels its steps, in the states that the policy reaches.

Recordings of experts show few of these states, and none of what other actions lead to there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from wla.policy.wrapper import PolicyWrapper
from wla.specs import RobotSpec
from wla.types import ActionChunk, Env, Observation, Outcome, Policy, PolicyState, Recorder, StepResult

SEGMENT_STEPS = 20
"""Control steps after which a new draw decides who acts."""
RANDOM_SEGMENT_STEPS = 8
"""Control steps in one direction when the robot moves at random."""
_TURN_STREAM, _DIRECTION_STREAM = 0x7A11, 0x7A12
"""Separate these draws from everything else that is drawn from the same seed."""


@runtime_checkable
class MemoryPolicy(Policy[PolicyState], Protocol):
    """A policy whose memory can be replaced."""

    def with_memory(self, state: PolicyState, memory: Sequence[str], window: Sequence[str]) -> PolicyState:
        """The state with these finished subtasks and this predicted window."""
        ...


@dataclass(frozen=True)
class MixtureState:
    """expert_subtasks: the expert's subtasks up to now. stale: whether the policy has not acted since its memory was
    last replaced by these."""

    policy_state: PolicyState
    expert_subtasks: tuple[str, ...] = ()
    stale: bool = False


class MixturePolicy(PolicyWrapper[MixtureState]):
    """A policy and an expert that act in turns, and random motion, drawn by the episode's seed.

    An episode gets as far as the expert brings it, however early the policy would fail. After the expert's turn the
    policy's memory is replaced by the true one. random_fraction: fraction of the turns in which the robot moves at
    random. expert_fraction: fraction of the other turns that are the expert's. relabels: whether recordings get the
    expert's actions, see `ExpertLabels`.
    """

    policy: MemoryPolicy

    def __init__(
        self,
        policy: MemoryPolicy,
        expert: Policy[PolicyState],
        expert_fraction: float,
        *,
        random_fraction: float = 0.0,
        relabels: bool = True,
    ) -> None:
        super().__init__(policy)
        self.expert, self.relabels = expert, relabels
        self._expert_fraction, self._random_fraction = expert_fraction, random_fraction

    def reset(self, instruction: str, *, seed: int = 0) -> MixtureState:
        return MixtureState(self.policy.reset(instruction, seed=seed))

    def act(self, observation: Observation, state: MixtureState, **options: Any) -> tuple[ActionChunk, MixtureState]:
        expert_chunk, expert_subtasks = self._query_expert(observation, state)
        turn = self._turn(state)
        if turn != "policy":
            chunk = expert_chunk if turn == "expert" else self._random_chunk(expert_chunk, state)
            return chunk, MixtureState(
                self.policy.observe(observation, state.policy_state), expert_subtasks, stale=True
            )
        policy_state = state.policy_state
        if state.stale:
            policy_state = self.policy.with_memory(
                policy_state, memory=expert_subtasks[:-1], window=expert_subtasks[-1:]
            )
        chunk, policy_state = self.policy.act(observation, policy_state, **options)
        return chunk, MixtureState(policy_state, expert_subtasks)

    def observe(self, observation: Observation, state: MixtureState) -> MixtureState:
        _, expert_subtasks = self._query_expert(observation, state)
        return replace(
            state, policy_state=self.policy.observe(observation, state.policy_state), expert_subtasks=expert_subtasks
        )

    def _query_expert(self, observation: Observation, state: MixtureState) -> tuple[ActionChunk, tuple[str, ...]]:
        """The expert's chunk for the current scene, and its subtasks up to now."""
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
        """Motion in a random direction; absolute dimensions (the gripper) are the expert's."""
        spec = self.robot_spec.action
        rng = np.random.default_rng([state.policy_state.seed, state.policy_state.env_step, _DIRECTION_STREAM])
        # About half of the dimensions rest, so that single directions are often seen alone.
        step = rng.uniform(spec.low, spec.high) * (rng.random(spec.dim) < 0.5)
        step = np.where([kind == "delta" for kind in spec.kinds], step, expert_chunk.actions[0]).astype(np.float32)
        return ActionChunk(step[None].repeat(RANDOM_SEGMENT_STEPS, 0), expert_chunk.subtasks)


class ExpertLabels:
    """An environment whose steps return the action and subtask of an expert at the observation before the step.

    They stand in ``info["expert_action"]`` (A,) and ``info["expert_subtask"]``.
    """

    def __init__(self, env: Env, expert: Policy[PolicyState]) -> None:
        self._env, self._expert = env, expert
        self._observation: Observation | None = None

    @property
    def robot_spec(self) -> RobotSpec:
        return self._env.robot_spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        raw, info = self._env.reset(seed=seed, options=options)
        self._observation = Observation(**raw)
        return raw, info

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]:
        assert self._observation is not None, "reset comes before step"
        chunk, _ = self._expert.act(self._observation, PolicyState(""))
        raw, reward, terminated, truncated, info = self._env.step(action)
        self._observation = Observation(**raw)
        labels = {"expert_action": chunk.actions[0], "expert_subtask": "".join(chunk.subtasks[:1])}
        return raw, reward, terminated, truncated, {**info, **labels}

    def close(self) -> None:
        self._env.close()


class ExpertRelabelRecorder:
    """A `Recorder` that passes on the expert's chunk of each step (see `ExpertLabels`) beside the executed action.

    Where the policy acted, the expert's actions of the following steps are no continuation of this one: they answer
    the policy's motion. Training leaves such windows out (`wla.data.loader`).
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def start(self, seed: int, instruction: str) -> None:
        self._recorder.start(seed, instruction)

    def step(
        self, observation: Observation, action: np.ndarray, chunk: ActionChunk, offset: int, result: StepResult | None
    ) -> None:
        if result is not None:  # a step that crashed has no label
            assert result.expert is not None, "the environment labels its steps"
            chunk, offset = result.expert, 0
        self._recorder.step(observation, action, chunk, offset, result)

    def end(self, observation: Observation, outcome: Outcome) -> None:
        self._recorder.end(observation, outcome)
