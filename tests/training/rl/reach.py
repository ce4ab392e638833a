"""An environment with a known optimum, for the tiny policy: move by 0.05 m at each of the 4 steps of an episode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny

from wla.envs import registry
from wla.envs.family import EnvFamily
from wla.policy import save_checkpoint
from wla.training import GRPOConfig, OptimConfig, RLLoopConfig, RLTrainConfig

OPTIMUM = 0.05


class Reach:
    """Reward: minus ten times the distance from the optimum. Success: at the end within 0.1 m of where it leads."""

    def __init__(self) -> None:
        self.robot_spec = tiny.robot_spec()

    def reset(self, *, seed=None, options=None):
        self.seed, self.x, self.steps = seed, 0.0, 0
        return self._observe(), {"instruction": tiny.INSTRUCTIONS[1]}

    def step(self, action):
        self.x += float(action[0])
        self.steps += 1
        done = self.steps == 4
        success = done and abs(self.x - 4 * OPTIMUM) < 0.1
        reward = BAD_SEEDS.get(self.seed, -10 * abs(float(action[0]) - OPTIMUM))
        return self._observe(), reward, done and success, done and not success, {"success": success}

    def close(self) -> None:
        pass

    def _observe(self):
        image = np.zeros((32, 32, 3), np.uint8)
        return {"images": {"front": image, "wrist": image}, "state": np.zeros(3, np.float32)}


BAD_SEEDS: dict[int, float] = {}
"""Rewards of the environment for some seeds."""


def family() -> EnvFamily:
    return EnvFamily("reach", ("reach",), make=lambda task, **names: Reach(), embodiments=("toy",))


def recipe(folder: Path, steps: int, **changes: object) -> RLTrainConfig:
    """A recipe for the tiny policy, which acts at random at first and predicts no text."""
    registry._loaded["reach"] = family()
    if not (folder / "policy").exists():
        made = tiny.checkpoint()
        config = made.config.replace(prompt=tiny.PROMPT.replace(language=False))
        save_checkpoint(replace(made, config=config), folder / "policy")
    optim = OptimConfig(steps=steps, learning_rate=3e-3, final_learning_rate=3e-3, warmup=0)
    fields = {
        "policy": str(folder / "policy"),
        "env": "reach",
        "reward": "return",
        "groups": 2,
        "group_size": 4,
        "objective": GRPOConfig(kl_weight=0.0),
        "validation_episodes": 4,
        "loop": RLLoopConfig(optim=optim, batch_size=4, log_every=1, save_every=1000),
    }
    return RLTrainConfig(**fields | changes)
