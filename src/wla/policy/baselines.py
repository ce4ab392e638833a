"""Policies that ignore the observation: the baselines that a learned policy has to beat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from wla.specs import ActionSpec, RobotSpec
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState


class RandomPolicy(BasePolicy[PolicyState]):
    """Uniform actions between the robot's limits, one per call. The same episode seed gives the same actions."""

    def __init__(self, robot_spec: RobotSpec) -> None:
        self.robot_spec = robot_spec

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        """Actions of shape (1, A)."""
        action = self.robot_spec.action
        noise = np.random.default_rng((state.seed, state.num_calls)).uniform(action.low, action.high)
        return ActionChunk(noise[None].astype(np.float32)), replace(state, num_calls=state.num_calls + 1)


class ZeroPolicy(BasePolicy[PolicyState]):
    """Stands still with an open gripper: delta dimensions get zero; see `rest_action` for the absolute ones."""

    def __init__(self, robot_spec: RobotSpec) -> None:
        self.robot_spec = robot_spec
        self._rest = rest_action(robot_spec.action)

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        """Actions of shape (1, A)."""
        return ActionChunk(self._rest[None].copy()), replace(state, num_calls=state.num_calls + 1)


GRIPPERS = ("gripper", "suction")
"""Names of absolute action dimensions whose lower limit is open (or off), by the package's convention."""


def rest_action(spec: ActionSpec) -> np.ndarray:
    """The action (A,) that changes nothing: 0 for deltas, open for the gripper.

    ValueError for a robot with another absolute dimension: no constant keeps it still.
    """
    kinds = dict(zip(spec.names, spec.kinds, strict=True))
    others = [name for name, kind in kinds.items() if kind == "absolute" and name not in GRIPPERS]
    if others:
        raise ValueError(f"the zero policy cannot hold absolute action dimensions still: {', '.join(others)}")
    rest = [low if kind == "absolute" else 0.0 for kind, low in zip(spec.kinds, spec.low, strict=True)]
    return np.asarray(rest, dtype=np.float32)
