"""A gymnasium environment in a module outside of the package: a point to move close to the middle."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

MODULE = "outside_sim"
REACH = "outside_sim/Reach-v0"
CODE = '''
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Reach(gymnasium.Env):
    """fault: what is wrong with it. The point leaves the middle never; the image is white at the top."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, fault="", side=24, render_mode=None):
        self.fault, self.side, self.render_mode, self.steps = fault, side, render_mode, 0
        limit = np.inf if fault == "unlimited" else 0.5
        self.action_space = Discrete(4) if fault == "discrete" else Box(-limit, limit, (2,), np.float32)
        if fault == "matrix actions":
            self.action_space = Box(-limit, limit, (2, 2), np.float32)
        if fault == "blind":
            self.metadata = {"render_modes": [], "render_fps": 10}

    def picture(self):
        assert self.fault != "needs a mode" or self.render_mode == "rgb_array"
        side = self.side + (self.fault == "growing image" and self.steps > 2)
        image = np.zeros((side, side, 3), np.uint8)
        image[: side // 2] = 255
        faulty = {"chw": image.transpose(2, 0, 1), "float image": image / 255.0}
        return faulty.get(self.fault, image)

    def observe(self):
        x = self.x[:1] if self.fault == "shrinking state" and self.steps > 2 else self.x
        if self.fault == "vector":
            return x.copy()
        state = "left" if self.fault == "text state" else x.copy()
        seen = {} if self.fault in ("blind", "rendered") else {"pixels": {"top": self.picture()}}
        return {**seen, "agent": {"pos": state}, "goal": np.zeros(1)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.steps = self.np_random.uniform(-1, 1, 2), 0
        return self.observe(), {"task_description": "reach the middle"}

    def step(self, action):
        assert action.dtype == np.float32 and np.abs(action).max() <= 0.5
        self.x, self.steps = self.x + action, self.steps + 1
        near = bool(np.abs(self.x).max() < 0.5)
        return self.observe(), -1.0, self.fault == "ends" and near, False, {"near": near}

    def render(self):
        return self.picture()


class Clear(Reach):
    """Shows everything that a mapping has to state."""

    def observe(self):
        return {"pixels": self.picture(), "pos": self.x.copy()}

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {"is_success": info["near"]}


gymnasium.register("outside_sim/Reach-v0", Reach, max_episode_steps=12)
gymnasium.register("outside_sim/Clear-v0", Clear, max_episode_steps=12)
'''
MAPPING = f'''
id = "{REACH}"
module = "{MODULE}"
task = "reach"
embodiment = "point"
instruction = "reach the middle"
success = "near"
rate_hz = 10
max_steps = 9

[images]
top = "pixels.top"

[state]
keys = ["agent.pos"]
names = ["x", "y"]
'''


@pytest.fixture(autouse=True)
def _outside(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "outside"
    folder.mkdir(exist_ok=True)
    (folder / f"{MODULE}.py").write_text(CODE)
    monkeypatch.syspath_prepend(folder)
    sys.modules.pop(MODULE, None)  # so that each test finds out whether it is imported


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "reach.toml"
    path.write_text(MAPPING)
    return path
