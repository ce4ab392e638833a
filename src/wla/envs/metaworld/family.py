"""Meta-World as an environment family. Importing it needs nothing of the simulator; making an environment does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wla.envs.family import EnvFamily, VisibleObject
from wla.envs.metaworld.robot import CAMERAS
from wla.envs.metaworld.tasks import DIFFICULTY, MT10, MT50
from wla.envs.requirements import installed_versions
from wla.envs.seeds import BENCHMARK_SEED_RANGES
from wla.gl import prepare_gl
from wla.types import Env, Policy

if TYPE_CHECKING:
    from wla.envs.metaworld.env import MetaWorldEnv

_IMAGE_SIZE, _MIN_IMAGE_SIZE = 96, 16


def _make(task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> Env:
    size = _IMAGE_SIZE if image_size is None else image_size
    if size < _MIN_IMAGE_SIZE:
        raise ValueError(f"image_size is {size}; at least {_MIN_IMAGE_SIZE} pixels are needed to see anything")
    prepare_gl()  # before mujoco is imported
    from wla.envs.metaworld.env import MetaWorldEnv

    return MetaWorldEnv(task, embodiment=embodiment, image_size=size)


def _make_expert(env: Env) -> Policy:
    from wla.envs.metaworld.env import MetaWorldEnv
    from wla.envs.metaworld.experts import MetaWorldExpert

    assert isinstance(env, MetaWorldEnv), f"{type(env).__name__} is not of this family"
    return MetaWorldExpert(env)


def _objects(env: MetaWorldEnv, cameras: Iterable[str]) -> list[VisibleObject]:
    names = tuple(cameras)
    return [
        VisibleObject(name=name, position=place, views={camera: env.view_of(camera, place) for camera in names})
        for name, place in env.objects().items()
    ]


def _sample_scene(env: MetaWorldEnv, seed: int) -> dict[str, Any]:
    return env.sample_scene(seed)


FAMILY = EnvFamily(
    name="metaworld",
    tasks=MT50,
    make=_make,
    embodiments=tuple(CAMERAS),
    groups={"mt10": MT10, "mt50": MT50, **DIFFICULTY},
    averaged_groups=tuple(DIFFICULTY),
    make_expert=_make_expert,
    seeds=BENCHMARK_SEED_RANGES,
    versions=installed_versions("metaworld", "mujoco"),
    requirements=("metaworld==3.1.1",),  # as the extra says; it pins mujoco
    sample_scene=_sample_scene,
    objects=_objects,
)
