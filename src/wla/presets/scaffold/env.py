"""The environments: a white dot, the robot, moves to a coloured square. numpy alone; put your simulator in its place.

An environment follows gymnasium's `reset` and `step`. Whatever is random follows from the reset seed.
"""

from typing import Any

import numpy as np

from wla.envs import EnvFamily
from wla.types import ActionChunk, BasePolicy, Env, Observation, Policy, PolicyState

from .robot import ROBOT

COLOURS = {"reach_red": (220, 60, 60), "reach_blue": (60, 60, 220)}  # task -> colour of its square
STEPS = 40  # control steps before an episode has failed
SIZE, NEAR = 0.5, 0.04  # m: positions are in [-SIZE, SIZE]; distance that counts as success


class Reach:
    """One task. See `wla.types.Env` for what observations and infos hold."""

    robot_spec = ROBOT

    def __init__(self, task: str) -> None:
        self.task = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        rng = np.random.default_rng(seed)
        self.position, self.goal = rng.uniform(-0.8 * SIZE, 0.8 * SIZE, (2, 2))
        self.steps = 0
        return self.observe(), {"instruction": f"move to the {self.task.removeprefix('reach_')} square"}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        limited = np.clip(action, ROBOT.action.low, ROBOT.action.high)
        self.position = np.clip(self.position + limited, -SIZE, SIZE)
        self.steps += 1
        success = bool(np.abs(self.position - self.goal).max() < NEAR)
        return self.observe(), float(success), success, self.steps >= STEPS, {"success": success}

    def observe(self) -> dict:
        height, width = ROBOT.observation.cameras["front"]
        image = np.full((height, width, 3), 40, np.uint8)
        for (x, y), colour in ((self.goal, COLOURS[self.task]), (self.position, (255, 255, 255))):
            row, column = int((y / SIZE + 1) / 2 * (height - 9)), int((x / SIZE + 1) / 2 * (width - 9))
            image[row : row + 8, column : column + 8] = colour
        return {"images": {"front": image}, "state": self.position.astype(np.float32)}

    def close(self) -> None:
        pass


class Expert(BasePolicy[PolicyState]):
    """A scripted expert: the upper bound in evaluations, and the source of data. It may look into the environment."""

    def __init__(self, env: Reach) -> None:
        self.env, self.robot_spec = env, env.robot_spec

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        step = np.clip(self.env.goal - self.env.position, ROBOT.action.low, ROBOT.action.high)
        return ActionChunk(step[None].astype(np.float32), ("move to the square",)), state


def make(task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> Env:
    """A new environment. A family with several settings or robots makes others of them here."""
    return Reach(task)


def make_expert(env: Env) -> Policy | None:
    """The expert of an environment that `make` made; None where there is none (then leave this function out)."""
    assert isinstance(env, Reach)
    return Expert(env)


FAMILY = EnvFamily(
    name="my_env",  # which is also that of its entry point in pyproject.toml
    tasks=tuple(COLOURS),
    make=make,
    make_expert=make_expert,
    embodiments=(ROBOT.embodiment,),
)
