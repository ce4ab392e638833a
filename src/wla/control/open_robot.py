"""Drivers of robots by name: simulated ones, LeRobot's, and those of other installed packages.

Another package offers one through the entry point group `wla.drivers`::

    [project.entry-points."wla.drivers"]
    my_arm = "my_arm.driver:DRIVER"
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from wla.config_errors import nearest
from wla.control.lerobot_robot import LEROBOT, lerobot_robot
from wla.control.simulated_robot import SimulatedRobot
from wla.envs.registry import family_names, load_family, make_env
from wla.plugins import Registry
from wla.robots.base import Robot
from wla.specs import RobotSpec


@dataclass(frozen=True)
class RobotDriver:
    """A robot that another package drives. make: the robot, not connected."""

    name: str
    make: Callable[[], Robot]


DRIVERS: Registry[RobotDriver] = Registry(group="wla.drivers", what="robot driver", own={}, name_of=attrgetter("name"))


def require_robot(name: str, settings: Path | None) -> None:
    """ValueError for a name that no robot has, before anything is loaded.

    settings: the file of a robot of LeRobot, which needs one; others have none.
    """
    if name.startswith(LEROBOT):
        if settings is None:
            raise ValueError(
                f"{name}: give --robot-config FILE.toml with its port, cameras, units and limits "
                "(docs/guides/real_robot.md has one)"
            )
        return
    if settings is not None:
        raise ValueError(f"{name}: has no --robot-config; that is for lerobot:NAME")
    family, colon, task = name.partition(":")
    if not colon and name in DRIVERS.names():
        return
    if family not in family_names():
        known = [*family_names(), *DRIVERS.names()]
        near = nearest(family, known)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)} and lerobot:NAME"
        raise ValueError(f"unknown robot {name!r}; {hint}")
    found = load_family(family)
    if colon:
        found.require("task", task, found.tasks)


def open_robot(name: str, spec: RobotSpec, *, settings: Path | None = None, seed: int = 0) -> Robot:
    """The robot, not connected yet.

    name: FAMILY or FAMILY:TASK for a simulated one (its first task when left out), lerobot:NAME, or the name of another
    package's driver. spec: of the policy; LeRobot's drivers state neither units nor frames, so they are taken to be
    these. settings: of a robot of LeRobot. seed: of a simulated scene. ValueError when there is no such robot.
    """
    require_robot(name, settings)
    if name.startswith(LEROBOT):
        assert settings is not None, "it was required"
        return lerobot_robot(name.removeprefix(LEROBOT), settings, spec)
    driver = DRIVERS.find(name, RobotDriver)
    if driver is not None:
        return driver.make()
    family, _, task = name.partition(":")
    found = load_family(family)
    first = (found.default_tasks or found.tasks)[0]
    return SimulatedRobot(make_env(family, task=task or first), seed=seed)
