"""A policy behind a delay, in virtual time: what a robot does while it waits for the next chunk.

The wrapped policy is asked at a control step, and its answer can be executed some steps later. Until then the robot
stands still (sync), keeps executing the chunk that it has (async), which the next one continues (rtc), or executes the
mean of all chunks that cover the step (ensemble). Actions of a chunk that are too late are left out by their step, not
by an estimate of the latency.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from wla.control.latency import TimingConfig
from wla.control.plan import Planned, ensembled
from wla.policy.wrapper import PolicyWrapper
from wla.specs import RobotSpec
from wla.types import ActionChunk, Observation, Policy, PolicyState, StepTiming


@dataclass(frozen=True)
class DelayedState(PolicyState):
    """An episode of a delayed policy.

    inner: state of the wrapped policy, after its last call. planned: chunks that arrived, oldest first; the last is the
    present one. pending: the chunk on its way, and the step at which it arrives. requested: step of the last call.
    last: the action executed last. source: start of the chunk that it came from; None before the first.
    """

    inner: Any = None
    planned: tuple[Planned, ...] = ()
    pending: tuple[Planned, int] | None = None
    requested: int = 0
    last: Float32[np.ndarray, " A"] | None = None
    source: int | None = None


class DelayedPolicy(PolicyWrapper[DelayedState]):
    """Acts at every control step, with one action."""

    def __init__(self, policy: Policy[Any], timing: TimingConfig) -> None:
        super().__init__(policy)
        self._timing = timing

    def reset(self, instruction: str, *, seed: int = 0) -> DelayedState:
        return DelayedState(instruction, seed, inner=self.policy.reset(instruction, seed=seed))

    def act(self, observation: Observation, state: DelayedState, **options: Any) -> tuple[ActionChunk, DelayedState]:
        """A chunk of one action, for this control step."""
        state = self._arrived(state)
        if self._is_due(state):
            state = self._arrived(self._requested(observation, state, options))
        else:
            state = replace(state, inner=self.policy.observe(observation, state.inner))
        step, present = state.env_step, state.planned[-1] if state.planned else None
        action = self._action(state)
        source = state.source if present is None or action is None else present.start
        timing = StepTiming(stale=action is None, border=state.source not in (None, source))
        executed = hold_action(self.robot_spec, state.last, observation) if action is None else action
        subtasks = () if present is None else present.chunk.subtasks
        subgoal = None if present is None else present.chunk.subgoal
        after = replace(state, env_step=step + 1, last=executed, source=source, subtasks=subtasks)
        return ActionChunk(executed[None], subtasks, subgoal, replan_steps=1, timing=timing), after

    def _requested(self, observation: Observation, state: DelayedState, options: dict[str, Any]) -> DelayedState:
        chunk, inner = self.policy.act(observation, state.inner, **options, **self._continued(state))
        delay = self._timing.latency.steps(self.robot_spec.action.rate_hz, seed=state.seed, call=state.num_calls)
        ready = state.env_step + delay
        # The robot stood still meanwhile: the chunk begins when it arrives.
        start = ready if self._timing.chunking == "sync" else state.env_step
        memory = inner.memory if isinstance(inner, PolicyState) else ()
        return replace(
            state,
            inner=inner,
            memory=memory,
            pending=(Planned(chunk, start), ready),
            requested=state.env_step,
            num_calls=state.num_calls + 1,
        )

    def _continued(self, state: DelayedState) -> dict[str, Any]:
        """What remains of the present chunk, and how much of it will be executed until the answer comes."""
        if self._timing.chunking != "rtc" or not state.planned:
            return {}
        remaining = state.planned[-1].from_step(state.env_step)
        if not len(remaining):
            return {}
        delay = self._timing.latency.expected_steps(self.robot_spec.action.rate_hz)
        return {"prefix": remaining, "delay": min(delay, len(remaining))}

    def _arrived(self, state: DelayedState) -> DelayedState:
        """The state with the chunk that has arrived by now."""
        if state.pending is None or state.pending[1] > state.env_step:
            return state
        planned, _ = state.pending
        kept = tuple(each for each in state.planned if each.at(state.env_step) is not None)
        if self._timing.chunking != "ensemble":
            kept = ()
        return replace(state, planned=(*kept, planned), pending=None)

    def _is_due(self, state: DelayedState) -> bool:
        """Whether to ask for a chunk at this step."""
        if state.pending is not None:
            return False
        if not state.planned or self._timing.chunking == "ensemble":
            return True
        present = state.planned[-1]
        interval = self._timing.replan_steps or present.chunk.replan_steps or len(present.chunk.actions)
        since = present.start if self._timing.chunking == "sync" else state.requested
        return state.env_step - since >= min(interval, len(present.chunk.actions))

    def _action(self, state: DelayedState) -> Float32[np.ndarray, " A"] | None:
        match self._timing.chunking:
            case "ensemble":
                return ensembled(state.planned, state.env_step)
            case "sync" if state.pending is not None:
                return None
        return state.planned[-1].at(state.env_step) if state.planned else None


def hold_action(
    spec: RobotSpec, last: Float32[np.ndarray, " A"] | None, observation: Observation
) -> Float32[np.ndarray, " A"]:
    """The action that keeps the robot still: 0 for deltas; for absolute dimensions the one executed last or, before the
    first, what is measured. A dimension that is not measured, such as a gripper's command, is at its lower limit."""
    state = dict(zip(spec.observation.state_names, observation.state.tolist(), strict=True))
    held = []
    for index, (name, kind, low) in enumerate(zip(spec.action.names, spec.action.kinds, spec.action.low, strict=True)):
        if kind == "delta":
            held.append(0.0)
        else:
            held.append(state.get(name, low) if last is None else float(last[index]))
    return np.array(held, np.float32)
