"""Environment families by name: the package's own, those of other installed packages, and any gymnasium environment.

Another package offers a family through the entry point group `wla.envs`::

    [project.entry-points."wla.envs"]
    kitchen = "kitchen_sim.wla_family:FAMILY"

Nothing is imported before it is asked for by name, so that reading options needs no simulator.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from wla.envs.family import EnvFamily
    from wla.types import Env, Policy

DEFAULT_FAMILY = "tabletop"
DEFAULT_PROTOCOL = "default"
"""Protocol of families that have a single one."""
ENTRY_POINTS = "wla.envs"
OWN: Mapping[str, str] = {"tabletop": "wla.envs.tabletop.family:FAMILY"}
"""Family name -> module and the name of the `EnvFamily` in it."""

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

    ValueError, listing the known names, for an unknown one, and for a combination that the family does not have.
    """
    family = load_family(name)
    return family.make(
        family.require("task", task, family.tasks),
        setting=family.require("setting", setting or family.settings[0], family.settings),
        embodiment=family.require("embodiment", embodiment or family.embodiments[0], family.embodiments),
        image_size=image_size,
        protocol=family.require("protocol", protocol or family.protocols[0], family.protocols),
    )


def make_expert(name: str, env: Env) -> Policy:
    """The scripted expert for an environment of the family. ValueError where it has none."""
    expert = load_family(name).make_expert(env)
    if expert is None:
        raise ValueError(
            f"{name} has no scripted expert; evaluate another policy, or collect with --policy P --expert-fraction 0"
        )
    return expert


def family_versions() -> dict[str, str]:
    """Versions of the packages behind the families that this process has loaded."""
    return {key: value for family in _loaded.values() for key, value in family.versions.items()}


def _load(name: str) -> EnvFamily:
    offers = _offers(name)
    if len(offers) > 1:
        raise ValueError(
            f"environment family {name!r} is offered by several packages ({', '.join(map(_origin, offers))}); "
            "uninstall all but one"
        )
    if offers:
        return _imported(name, offers[0])
    from wla.envs.gym.family import gym_family

    family = gym_family(name)
    if family is None:
        raise ValueError(_unknown(name))
    return family


def _offers(name: str) -> list[EntryPoint]:
    from importlib.metadata import EntryPoint, entry_points

    own = [EntryPoint(name, OWN[name], ENTRY_POINTS)] if name in OWN else []
    # Sorted, because the order in which packages are found depends on the file system.
    return [*own, *sorted(entry_points(group=ENTRY_POINTS, name=name), key=_origin)]


def _origin(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist else "wla"


def _imported(name: str, offer: EntryPoint) -> EnvFamily:
    from wla.envs.family import EnvFamily

    where = f"environment family {name!r} of the package {_origin(offer)} ({offer.value})"
    try:
        family = offer.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{where} cannot be imported ({type(error).__name__}: {error}); repair or uninstall it"
        ) from error
    if not isinstance(family, EnvFamily) or family.name != name:
        found = f"called {family.name!r}" if isinstance(family, EnvFamily) else f"a {type(family).__name__}"
        raise ValueError(f"{where} is {found}; the entry point leads to an EnvFamily of its own name")
    return family


def family_names() -> list[str]:
    """Names of all families, without importing any."""
    from importlib.metadata import entry_points

    return [*OWN, *sorted({offer.name for offer in entry_points(group=ENTRY_POINTS)} - OWN.keys())]


def _unknown(name: str) -> str:
    known = family_names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
    return (
        f"unknown environment {name!r}; {hint} (or a gymnasium id, or a mapping file: wla init --env GYM_ID --out FILE)"
    )
