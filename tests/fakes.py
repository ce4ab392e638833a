"""A line world of known outcome: walk from 0 to the goal at 1; seeds choose the trouble."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from toy_robot import robot

from wla.rollout.results import TaskVariant
from wla.specs import RobotSpec
from wla.types import ActionChunk, BasePolicy, Candidates, Observation, Policy, PolicyState

LIMIT = 8


def spec(embodiment: str = "walker") -> RobotSpec:
    return robot(embodiment, state_dim=1, limits=(-0.25, 0.25), size=(16, 16))


class LineEnv:
    """Success at x >= 1. Crashes at step 2 when the seed ends in 7, at reset when it ends in 8."""

    def __init__(self, spec_: RobotSpec | None = None) -> None:
        self._spec = spec_ or spec()
        self.closed = False

    @property
    def robot_spec(self) -> RobotSpec:
        return self._spec

    def reset(self, *, seed=None, options=None):
        if seed % 10 == 8:
            raise RuntimeError("no such scene\nsecond line")
        self.seed, self.x, self.steps = seed, 0.0, 0
        return self._observe(), {"instruction": "walk to the goal"}

    def step(self, action):
        if self.seed % 10 == 7 and self.steps == 2:
            raise ZeroDivisionError("the simulation exploded")
        self.x += float(np.clip(action[0], -0.25, 0.25))
        self.steps += 1
        success = self.x >= 1
        return self._observe(), float(success), success, self.steps >= LIMIT, {"success": success}

    def close(self) -> None:
        self.closed = True

    def _observe(self) -> dict:
        image = np.full((16, 16, 3), int(200 * min(max(self.x, 0), 1)), np.uint8)
        return {"images": {"front": image, "wrist": image}, "state": np.array([self.x], np.float32)}


class Walker(BasePolicy[PolicyState]):
    """Chunks of three steps of 0.25 m; stands still in odd seeds, so that these fail.

    What it imagines it chose from two, the second of which would set off again.
    """

    def __init__(self, *, robot_spec: RobotSpec | None = None, sha: str | None = None) -> None:
        self.robot_spec = robot_spec or spec()
        self.checkpoint_sha256 = sha

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation: Observation, state: PolicyState, imagine: bool = False):
        pace = 0.25 if state.seed % 2 == 0 or state.seed % 10 in (7, 9) else 0.0
        words = ("set off",) if observation.state[0] < 0.5 else ("arrive",)
        chunk = ActionChunk(np.tile(np.float32([pace, -1.0]), (3, 1)), words)
        if not imagine:
            return chunk, state
        images = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (99, 33)])
        candidates = Candidates(0, np.float32([0.75, 0.5]), images, 1, (words[0], "set off"), (False, True))
        return replace(chunk, subgoal=images[0], candidates=candidates), state


class Interrupted(Walker):
    """Someone presses Ctrl-C when the episode of seed `at` begins."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        if seed == self._at:
            raise KeyboardInterrupt
        return super().reset(instruction, seed=seed)


def build(variant: TaskVariant, shared: Policy | None = None) -> tuple[LineEnv, Policy]:
    return LineEnv(), shared or Walker()


TASK_VARIANT = TaskVariant("line", "walk", "clean", "walker")
