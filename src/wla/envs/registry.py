"""Environments by name."""

from __future__ import annotations

from collections.abc import Iterable

import gymnasium

from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.expert import Expert
from wla.envs.tabletop.gantry import Gantry
from wla.envs.tabletop.scara import Scara
from wla.envs.tabletop.tasks import SHORT_TASKS, TASKS, VIDEO_TASKS
from wla.types import Env, Policy

_TABLETOP_ARMS = {arm.embodiment: arm for arm in (Gantry, Scara)}
_SETTINGS = ("clean", "randomized")
_NAMES = ("tabletop",)


def task_names(name: str, embodiment: str | None = None) -> tuple[str, ...]:
    """The tasks of environment `name`, or those that one embodiment can do. ValueError for an unknown one of either."""
    _require(name, _NAMES, "environment")
    if embodiment is None:
        return tuple(TASKS)
    _require(embodiment, _TABLETOP_ARMS, "embodiment")
    return tuple(task for task in TASKS if embodiment in TASKS[task].embodiments)


def default_tasks(name: str) -> tuple[str, ...]:
    """The tasks of environment `name` that are meant where nobody says which. ValueError for an unknown name."""
    _require(name, _NAMES, "environment")
    return SHORT_TASKS


def video_tasks(name: str) -> tuple[str, ...]:
    """The tasks of environment `name` that are kept to be learned from videos. ValueError for an unknown name."""
    _require(name, _NAMES, "environment")
    return VIDEO_TASKS


def make_env(
    name: str, *, task: str, setting: str = "clean", embodiment: str = "gantry", image_size: int = 96
) -> TabletopEnv:
    """A new environment. ValueError, listing what there is, for an unknown name, task, setting or embodiment.

    ValueError also for a task that the embodiment cannot do.
    """
    _require(task, task_names(name), "task")
    _require(setting, _SETTINGS, "setting")
    _require(embodiment, _TABLETOP_ARMS, "embodiment")
    if embodiment not in TASKS[task].embodiments:
        raise ValueError(f"task {task!r} is for {', '.join(TASKS[task].embodiments)}; {embodiment} cannot do it")
    if image_size < 16:
        raise ValueError(f"image_size is {image_size}; at least 16 pixels are needed to see anything")
    return TabletopEnv(
        TASKS[task], _TABLETOP_ARMS[embodiment](), randomized=setting == "randomized", image_size=image_size
    )


def make_expert(env: Env | gymnasium.Env) -> Policy:
    """The scripted expert for `env`, wrapped or not. ValueError where there is none."""
    inner = env.unwrapped if isinstance(env, gymnasium.Env) else env
    if not isinstance(inner, TabletopEnv):
        raise ValueError(f"there is no scripted expert for {type(inner).__name__}; the tabletop has one for every task")
    return Expert(inner)


def _require(value: str, known: Iterable[str], what: str) -> None:
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}; known are: {', '.join(known)}")
