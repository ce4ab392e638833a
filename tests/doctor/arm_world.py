"""A small arm of known geometry, its expert, and the mistakes that an adapter of it may make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from wla.envs.family import EnvFamily
from wla.specs import ActionSpec, ObservationSpec, RobotSpec
from wla.types import ActionChunk, BasePolicy, Env, Observation, PolicyState

SPEC = RobotSpec(
    embodiment="arm",
    action=ActionSpec(
        names=("dx", "dy", "dz", "gripper"),
        units=("m", "m", "m", "1"),
        kinds=("delta", "delta", "delta", "absolute"),
        low=(-0.05, -0.05, -0.05, -1.0),
        high=(0.05, 0.05, 0.05, 1.0),
        frame="world",
        gripper="-1 open .. 1 closed",
        rate_hz=10.0,
    ),
    observation=ObservationSpec(
        cameras={"front": (32, 48)},
        state_names=("x", "y", "z", "qw", "qx", "qy", "qz", "opening"),
        state_units=("m", "m", "m", "1", "1", "1", "1", "m"),
        state_frame="world",
    ),
)


class ArmEnv:
    """The hand has to reach the goal, a white square; it turns while it moves along y."""

    robot_spec = SPEC

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        rng = np.random.default_rng(seed)
        self.goal = rng.uniform([-0.4, -0.4, 0.1], [0.4, 0.4, 0.4])
        self.hand, self.opening, self.steps = rng.uniform([-0.1, -0.1, 0.5], [0.1, 0.1, 0.6]), 0.08, 0
        return self._observe(), {"instruction": "reach the square"}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.hand = self.hand + np.clip(action[:3], -0.05, 0.05)
        self.opening = float(np.clip(self.opening - 0.02 * action[3], 0.0, 0.08))
        self.steps += 1
        success = bool(np.linalg.norm(self.hand - self.goal) < 0.04)
        return self._observe(), float(success), success, self.steps >= 40, {"success": success}

    def close(self) -> None:
        pass

    def _observe(self) -> dict[str, Any]:
        angle = 0.4 + self.hand[1]
        rows, columns = np.mgrid[:32, :48]
        image = np.stack([4 * rows, 3 * columns, 60 + 0 * rows], 2).astype(np.uint8)
        for (x, _, z), colour in ((self.goal, 255), (self.hand, 0)):
            row, column = int(30 - 40 * z), int(24 + 40 * x)
            image[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = colour
        rotation = [np.cos(angle / 2), 0.0, np.sin(angle / 2), 0.0]
        return {"images": {"front": image}, "state": np.float32([*self.hand, *rotation, self.opening])}


class ArmExpert(BasePolicy[PolicyState]):
    """Moves straight to the goal, opens the gripper on the way and closes it there."""

    def __init__(self, env: ArmEnv) -> None:
        self._env, self.robot_spec = env, SPEC

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        way = self._env.goal - self._env.hand
        grip = 1.0 if np.linalg.norm(way) < 0.25 else -1.0
        action = np.float32([*np.clip(way, -0.05, 0.05), grip])
        return ActionChunk(action[None], ("reach",)), replace(state, num_calls=state.num_calls + 1)


def seen(change: Callable[[np.ndarray], np.ndarray]) -> type[ArmEnv]:
    """An adapter whose images are changed."""

    class Adapter(ArmEnv):
        def _observe(self) -> dict[str, Any]:
            raw = super()._observe()
            return {**raw, "images": {"front": np.ascontiguousarray(change(raw["images"]["front"]))}}

    return Adapter


def stated(change: Callable[[np.ndarray], np.ndarray]) -> type[ArmEnv]:
    """An adapter whose states are changed."""

    class Adapter(ArmEnv):
        def _observe(self) -> dict[str, Any]:
            raw = super()._observe()
            return {**raw, "state": change(raw["state"].copy()).astype(np.float32)}

    return Adapter


def seeded(change: Callable[[int | None], int | None]) -> type[ArmEnv]:
    """An adapter that hands another seed to its simulator."""

    class Adapter(ArmEnv):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
            return super().reset(seed=change(seed), options=options)

    return Adapter


class GripperTurned(ArmEnv):
    """An adapter that sends the gripper's command with the other sign."""

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        return super().step(action * np.float32([1, 1, 1, -1]))


class SlowActions(ArmEnv):
    """An adapter that sends actions in another unit."""

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        return super().step(action * np.float32([0.2, 0.2, 0.2, 1]))


class WithoutSuccess(ArmEnv):
    """An adapter that forgets to say whether the episode succeeded."""

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        return (*super().step(action)[:4], {})


class NeverSuccessful(ArmEnv):
    """An adapter that reads success from a key that is never set."""

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        raw, reward, terminated, truncated, _ = super().step(action)
        return raw, reward, terminated, truncated, {"success": False}


def family(adapter: type[ArmEnv], *, expert: bool = True) -> EnvFamily:
    def make(task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> Env:
        return adapter()

    return EnvFamily(
        name="arm",
        tasks=("reach",),
        make=make,
        make_expert=(lambda env: ArmExpert(env)) if expert else lambda env: None,  # type: ignore[arg-type]
    )
