"""A family of one task from a mapping file, or from a gymnasium environment that shows everything by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import gymnasium

from wla.envs.family import EnvFamily
from wla.envs.gym.env import GymEnv
from wla.envs.gym.inspect import inspect_gym
from wla.envs.gym.mapping import GymMapping
from wla.envs.registry import is_gym_id


def gym_family(name: str) -> EnvFamily | None:
    """The family of a mapping file (.toml) or of a gymnasium id (`ID`, `MODULE:ID`); None for any other name.

    ValueError for a file that cannot be read, an unknown id, and for one that leaves open what a mapping has to state.
    """
    if name.endswith(".toml"):
        return mapping_family(name, GymMapping.read(Path(name)))
    if not is_gym_id(name):
        return None
    require_registered(name)
    draft = inspect_gym(name)
    if draft.missing:
        raise ValueError(
            f"gymnasium environment {name!r} leaves open: {', '.join(draft.missing)}; state that in a mapping file: "
            f"wla init --env {name} --out FILE.toml, then --env FILE.toml"
        )
    return mapping_family(name, GymMapping.model_validate(draft.fields))


def mapping_family(name: str, mapping: GymMapping) -> EnvFamily:
    """The environment of a mapping as a family called `name`, without expert."""
    return gym_tasks(name, [mapping], versions=_provider(mapping))


def gym_tasks(
    name: str,
    mappings: Sequence[GymMapping],
    *,
    versions: Mapping[str, str],
    prepare: Callable[[GymEnv], None] = lambda _: None,
    **more: Any,
) -> EnvFamily:
    """A family called `name` of a task per mapping, all of one robot.

    versions: of what provides the environments. prepare: receives each environment as it is made. more: other fields of
    `EnvFamily`.
    """
    by_task = {mapping.task: mapping for mapping in mappings}

    def make(task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> GymEnv:
        if image_size is not None:
            raise ValueError(f"{name}: images keep their size; ask the environment for another one by [kwargs]")
        env = GymEnv(by_task[task])
        prepare(env)
        return env

    content = "".join(mapping.model_dump_json() for mapping in mappings)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return EnvFamily(
        name=name,
        tasks=tuple(by_task),
        make=make,
        embodiments=(mappings[0].embodiment,),
        versions={"gymnasium": version("gymnasium"), "mapping_sha256": digest, **versions},
        **more,
    )


def require_registered(name: str) -> None:
    """ValueError for an id that gymnasium does not know, also after the import of its module."""
    module, _, env_id = name.rpartition(":")
    try:
        if module:
            import_module(module)
        gymnasium.spec(env_id)
    except ImportError as error:
        raise ValueError(f"cannot import {module!r} ({error}); install it, or put its folder on PYTHONPATH") from error
    except gymnasium.error.Error as error:
        hint = "" if module else f"; where a module registers it: MODULE:{env_id}"
        raise ValueError(f"gymnasium has no environment {env_id!r} ({error}){hint}") from error


def _provider(mapping: GymMapping) -> dict[str, str]:
    """Version of the installed package that registers the environment, where it is one."""
    package = mapping.module.partition(".")[0]
    return {found: version(found) for found in packages_distributions().get(package, ())} if package else {}
