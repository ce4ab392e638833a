"""Episodes without images, for tests of motion."""

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
    """Returns an environment whose observations have no images, which is several times faster."""
    env = make_env("tabletop", task=task, setting=setting, embodiment=embodiment)
    env.observe = lambda: {"images": {}, "state": env.world.arm.state(env.world)}  # type: ignore[method-assign]
    return env


def expert_successes(env: TabletopEnv, seeds: Iterable[int], *, perturb: bool = False) -> list[bool]:
    """Returns for each seed whether the expert succeeds."""
    wrapped = PerturbedActions(env) if perturb else env
    expert = Expert(env)
    successes = []
    for seed in seeds:
        observation, info = wrapped.reset(seed=seed)
        carry, done = expert.reset(info["instruction"], seed=seed), False
        while not done:
            chunk, carry = expert.act(Observation(**observation), carry)
            observation, _, terminated, truncated, info = wrapped.step(chunk.actions[0])
            done = terminated or truncated
        successes.append(bool(info["success"]))
    return successes


def expert_subtask_spans(env: TabletopEnv, seed: int) -> list[tuple[str, int]]:
    """Returns the subtasks of a successful expert episode, each with its number of steps."""
    expert = Expert(env)
    observation, info = env.reset(seed=seed)
    carry, done, subtasks = expert.reset(info["instruction"], seed=seed), False, []
    while not done:
        chunk, carry = expert.act(Observation(**observation), carry)
        subtasks += chunk.subtasks
        observation, _, terminated, truncated, info = env.step(chunk.actions[0])
        done = terminated or truncated
    assert info["success"]
    return [(text, len(list(steps))) for text, steps in itertools.groupby(subtasks)]


def slide_to(env: TabletopEnv, button: str, depth: float) -> None:
    """Moves the button `button` (a body) down to `depth`, metres, and updates the task."""
    world = env.world
    address = world.model.joint(f"{button}_slide").qposadr[0]
    world.data.qpos[address] = -depth
    world.forward()
    env.task.update(world)


def press(env: TabletopEnv, button: str, times: int = 1) -> None:
    """Presses and releases the button `button` (a body) without an arm."""
    for _ in range(times):
        slide_to(env, button, BUTTON_TRAVEL)
        slide_to(env, button, 0.0)


def success_rate(env: TabletopEnv, seeds: Iterable[int], *, random: bool) -> float:
    """Returns the success rate of random or zero actions."""
    rng = np.random.default_rng(0)
    low, high = np.array(env.robot_spec.action.low), np.array(env.robot_spec.action.high)
    successes = []
    for seed in seeds:
        env.reset(seed=seed)
        done = False
        while not done:
            action = rng.uniform(low, high) if random else np.zeros(len(low))
            _, _, terminated, truncated, info = env.step(action.astype(np.float32))
            done = terminated or truncated
        successes.append(bool(info["success"]))
    return float(np.mean(successes))
