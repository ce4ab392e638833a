"""The tabletop as an environment family."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from wla.envs.family import EnvFamily, VisibleObject
from wla.envs.mujoco_render import view_of
from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.expert import Expert
from wla.envs.tabletop.gantry import Gantry
from wla.envs.tabletop.scara import Scara
from wla.envs.tabletop.tasks import MEMORY_TASKS, SHORT_TASKS, TASKS, VIDEO_TASKS, load_task
from wla.types import Env, Policy

_ARMS = {arm.embodiment: arm for arm in (Gantry, Scara)}
_IMAGE_SIZE, _MIN_IMAGE_SIZE = 96, 16


def _make(task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> TabletopEnv:
    kind = load_task(task)
    if embodiment not in kind.embodiments:
        raise ValueError(f"task {task!r} is for {', '.join(kind.embodiments)}; {embodiment} cannot do it")
    size = _IMAGE_SIZE if image_size is None else image_size
    if size < _MIN_IMAGE_SIZE:
        raise ValueError(f"image_size is {size}; at least {_MIN_IMAGE_SIZE} pixels are needed to see anything")
    return TabletopEnv(kind, _ARMS[embodiment](), randomized=setting == "randomized", image_size=size)


def _make_expert(env: Env) -> Policy:
    assert isinstance(env, TabletopEnv), f"{type(env).__name__} is not of this family"
    return Expert(env)


def _sample_scene(env: TabletopEnv, seed: int) -> dict[str, Any]:
    return env.sample_scene(seed)


def _objects(env: TabletopEnv, cameras: Iterable[str]) -> list[VisibleObject]:
    names = tuple(cameras)
    return [
        VisibleObject(
            name=found.name,
            label=found.label,
            position=found.position,
            views={name: view_of(env.world.model, env.world.data, name, found.position) for name in names},
        )
        for found in env.objects()
    ]


FAMILY = EnvFamily(
    name="tabletop",
    tasks=TASKS,
    make=_make,
    settings=("clean", "randomized"),
    embodiments=tuple(_ARMS),
    groups={"short": SHORT_TASKS, "memory": MEMORY_TASKS, "video": VIDEO_TASKS},
    default_tasks=SHORT_TASKS,
    video_tasks=VIDEO_TASKS,
    make_expert=_make_expert,
    versions={"mujoco": version("mujoco")},
    sample_scene=_sample_scene,
    objects=_objects,
)
