"""Robots by name: those of published datasets, and those of other installed packages.

Another package offers a robot through the entry point group `wla.robots`::

    [project.entry-points."wla.robots"]
    six_axis_arm = "my_package.robot:SIX_AXIS_ARM"
"""

from __future__ import annotations

from operator import attrgetter

from wla.plugins import Registry
from wla.specs import RobotSpec

ROBOTS: Registry[RobotSpec] = Registry(
    group="wla.robots",
    what="robot",
    own={
        "libero_panda": "wla.robots.libero:LIBERO_PANDA",
        "aloha_agilex": "wla.robots.aloha:ALOHA_AGILEX",
        "aloha_agilex_eef": "wla.robots.aloha:ALOHA_AGILEX_EEF",
    },
    name_of=attrgetter("embodiment"),
)


def load_robot(name: str) -> RobotSpec:
    """The robot of a name. ValueError for one that is unknown, offered by several packages, or does not load."""
    robot = ROBOTS.find(name, RobotSpec)
    if robot is None:
        raise ValueError(f"unknown robot {name!r}; {ROBOTS.hint(name)} (a package offers one by an entry point)")
    return robot
