"""Episodes without pictures, for tests that are about motion."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from wla.envs.perturb import PerturbedActions
from wla.envs.registry import make_env
from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.expert import Expert
from wla.envs.tabletop.objects import BUTTON_TRAVEL
from wla.types import Observation


def env_without_images(task: str, *, setting: str = "clean", embodiment: str = "gantry") -> TabletopEnv:
    """An environment whose observations have no images, which is several times faster."""
    env = make_env("tabletop", task=task, setting=setting, embodiment=embodiment)
    env.observe = lambda: {"images": {}, "state": env.world.arm.state(env.world)}  # type: ignore[method-assign]
    return env


def expert_successes(env: TabletopEnv, seeds: Iterable[int], *, perturb: bool = False) -> list[bool]:
    """Whether the expert succeeds, seed by seed."""
    stage = PerturbedActions(env) if perturb else env
    expert = Expert(env)
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


def expert_subtask_spans(env: TabletopEnv, seed: int) -> list[tuple[str, int]]:
    """The subtasks that an expert who succeeds names, each with the number of steps that it lasts."""
    expert = Expert(env)
    observation, info = env.reset(seed=seed)
    state, over, words = expert.reset(info["instruction"], seed=seed), False, []
    while not over:
        chunk, state = expert.act(Observation(**observation), state)
        words += chunk.subtasks
        observation, _, terminated, truncated, info = env.step(chunk.actions[0])
        over = terminated or truncated
    assert info["success"]
    return [(text, len(list(steps))) for text, steps in itertools.groupby(words)]


def slide_to(env: TabletopEnv, button: str, depth: float) -> None:
    """Push the button `button` (a body) down to `depth` (metres), for the task to see."""
    world = env.world
    address = world.model.joint(f"{button}_slide").qposadr[0]
    world.data.qpos[address] = -depth
    world.forward()
    env.task.update(world)


def press(env: TabletopEnv, button: str, times: int = 1) -> None:
    """Press the button `button` (a body) and let it go again, without an arm."""
    for _ in range(times):
        slide_to(env, button, BUTTON_TRAVEL)
        slide_to(env, button, 0.0)


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
