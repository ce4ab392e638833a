"""The tasks of the tabletop, one file each."""

from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.battery_try import BatteryTry
from wla.envs.tabletop.tasks.cover_blocks import CoverBlocks
from wla.envs.tabletop.tasks.drawer import OpenDrawer
from wla.envs.tabletop.tasks.place import Place
from wla.envs.tabletop.tasks.place_two import PlaceTwo
from wla.envs.tabletop.tasks.press import Press
from wla.envs.tabletop.tasks.push import Push
from wla.envs.tabletop.tasks.stack import Stack

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Place, Stack, Push, Press, OpenDrawer, PlaceTwo, CoverBlocks, BatteryTry)
}

__all__ = ["TASKS", "Task"]
