"""The tabletop with the names that LeRobot's loops read."""

from __future__ import annotations

from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from lerobot.envs.utils import NEW_ROLLOUT_OPTION

from wla.envs import make_env


class TabletopForLeRobot(gymnasium.Env):
    """One task of the tabletop.

    Observations: `pixels` (camera -> uint8 (H, W, 3)) and `agent_pos`, float32 (S,). Actions: float32 (A,), in the
    robot's units. info has `is_success`. task_description is the instruction of the current episode.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, task: str, setting: str, embodiment: str, image_size: int, episode_length: int | None) -> None:
        """episode_length: control steps until truncation; None for the task's own. ValueError for an unknown name."""
        env = make_env("tabletop", task=task, setting=setting, embodiment=embodiment, image_size=image_size)
        self._env = cast(Any, env)  # it is a gymnasium environment, too
        self.task, self.task_description, self.render_mode = task, "", "rgb_array"
        self.robot_spec = self._env.robot_spec
        own = self._env.observation_space
        self.observation_space = spaces.Dict({"pixels": own["images"], "agent_pos": own["state"]})
        self.action_space = self._env.action_space
        self._limit, self._steps = episode_length, 0

    @property
    def _max_episode_steps(self) -> int:
        """Control steps of the longest episode, which LeRobot's loop reads after the first reset."""
        own: int = self._env.task.step_limit
        return own if self._limit is None else min(own, self._limit)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        others = {name: value for name, value in (options or {}).items() if name != NEW_ROLLOUT_OPTION}
        raw, info = self._env.reset(seed=seed, options=others or None)
        self.task_description, self._steps = info["instruction"], 0
        return _renamed(raw), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        raw, reward, terminated, truncated, info = self._env.step(np.asarray(action, np.float32))
        self._steps += 1
        truncated = truncated or (not terminated and self._steps >= self._max_episode_steps)
        return _renamed(raw), reward, terminated, truncated, {"is_success": bool(info["success"])}

    def render(self) -> np.ndarray:
        """The image of the front camera, uint8 (H, W, 3)."""
        image: np.ndarray = self._env.render()
        return image

    def close(self) -> None:
        self._env.close()


def _renamed(raw: dict[str, Any]) -> dict[str, Any]:
    return {"pixels": raw["images"], "agent_pos": raw["state"]}
