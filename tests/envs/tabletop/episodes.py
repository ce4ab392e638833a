"""Episodes without pictures, for tests that are about motion."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wla.envs.perturb import KickedActions
from wla.envs.registry import make_env, make_expert
from wla.envs.tabletop.env import TabletopEnv
from wla.types import Observation


def blind_env(task: str, *, setting: str = "clean", embodiment: str = "gantry") -> TabletopEnv:
    """An environment whose observations have no images, which is several times faster."""
    env = make_env("tabletop", task=task, setting=setting, embodiment=embodiment)
    env.observe = lambda: {"images": {}, "state": env.world.arm.state(env.world)}  # type: ignore[method-assign]
    return env


def solved(env: TabletopEnv, seeds: Iterable[int], *, kicks: bool = False) -> list[bool]:
    """Whether the expert succeeds, seed by seed."""
    stage = KickedActions(env) if kicks else env
    expert = make_expert(env)
    outcomes = []
    for seed in seeds:
        observation, info = stage.reset(seed=seed)
        state, over = expert.reset(info["instruction"], seed=seed), False
        while not over:
            chunk, state = expert.act(Observation(**observation), state)
            observation, _, terminated, truncated, info = stage.step(chunk.actions[0])
            over = terminated or truncated
        outcomes.append(bool(info["success"]))
    return outcomes


def score(env: TabletopEnv, seeds: Iterable[int], *, random: bool) -> float:
    """The success rate of random actions, or else of none."""
    rng = np.random.default_rng(0)
    low, high = np.array(env.robot_spec.action.low), np.array(env.robot_spec.action.high)
    wins = []
    for seed in seeds:
        env.reset(seed=seed)
        over = False
        while not over:
            action = rng.uniform(low, high) if random else np.zeros(len(low))
            _, _, terminated, truncated, info = env.step(action.astype(np.float32))
            over = terminated or truncated
        wins.append(bool(info["success"]))
    return float(np.mean(wins))
