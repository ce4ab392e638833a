"""Environment families by name: the package's own, those of other installed packages, and any gymnasium environment.

Another package offers a family through the entry point group `wla.envs`::

    [project.entry-points."wla.envs"]
    kitchen = "kitchen_sim.wla_family:FAMILY"

Nothing is imported before it is asked for by name, so that reading options needs no simulator.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING

from wla.envs.requirements import unmet_requirement
from wla.plugins import Registry

if TYPE_CHECKING:
    from wla.envs.family import EnvFamily
    from wla.types import Env, Policy

DEFAULT_FAMILY = "tabletop"
DEFAULT_PROTOCOL = "default"
"""Protocol of families that have a single one."""
FAMILIES: Registry[EnvFamily] = Registry(
    group="wla.envs",
    what="environment family",
    own={
        "tabletop": "wla.envs.tabletop.family:FAMILY",
        "metaworld": "wla.envs.metaworld.family:FAMILY",
        "libero": "wla.envs.libero.family:FAMILY",
        "pusht": "wla.envs.pusht:FAMILY",
        "aloha": "wla.envs.aloha:FAMILY",
    },
    name_of=attrgetter("name"),
)

_GYM_ID = re.compile(r"[\w./:-]+-v\d+")
_loaded: dict[str, EnvFamily] = {}


def load_family(name: str) -> EnvFamily:
    """The family of a name, of a mapping file (.toml, see `wla.envs.gym.mapping`), or of a gymnasium id.

    ValueError for an unknown name, one that several packages offer, or a family that cannot be imported.
    """
    if name not in _loaded:
        _loaded[name] = _load(name)
    return _loaded[name]


def make_env(
    name: str,
    *,
    task: str,
    setting: str | None = None,
    embodiment: str | None = None,
    image_size: int | None = None,
    protocol: str | None = None,
) -> Env:
    """A new environment; what is None is the family's default.

    ValueError, listing the known names, for an unknown one, for a combination that the family does not have, and where
    a package behind it is missing or has another version.
    """
    family = load_family(name)
    names = {
        "setting": family.require("setting", setting or family.settings[0], family.settings),
        "embodiment": family.require("embodiment", embodiment or family.embodiments[0], family.embodiments),
        "protocol": family.require("protocol", protocol or family.protocols[0], family.protocols),
    }
    family.require("task", task, family.tasks)
    missing = unmet_requirement(family.requirements)
    if missing is not None:
        wanted = " ".join(f"'{each}'" for each in family.requirements)
        raise ValueError(
            f"environment {name} needs {missing}; run pip install {wanted}, in a Python environment of its own where "
            "others need other versions"
        )
    return family.make(task, image_size=image_size, **names)


def make_expert(name: str, env: Env) -> Policy:
    """The scripted expert for an environment of the family. ValueError where it has none."""
    expert = load_family(name).make_expert(env)
    if expert is None:
        raise ValueError(
            f"{name} has no scripted expert; evaluate another policy, or collect with --policy P --expert-fraction 0"
        )
    return expert


def is_gym_id(name: str) -> bool:
    """Whether a name is a gymnasium id, `ID` or `MODULE:ID`."""
    return bool(_GYM_ID.fullmatch(name))


def family_versions() -> dict[str, str]:
    """Versions of the packages behind the families that this process has loaded."""
    return {key: value for family in _loaded.values() for key, value in family.versions.items()}


def _load(name: str) -> EnvFamily:
    from wla.envs.family import EnvFamily

    family = FAMILIES.find(name, EnvFamily)
    if family is not None:
        return family
    from wla.envs.gym.family import gym_family

    family = gym_family(name)
    if family is None:
        raise ValueError(
            f"unknown environment {name!r}; {FAMILIES.hint(name)} (or a gymnasium id, or a mapping file: "
            "wla init --env GYM_ID --out FILE)"
        )
    return family


def family_names() -> list[str]:
    """Names of all families, without importing any."""
    return FAMILIES.names()
