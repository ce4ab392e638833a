"""Tasks of the tabletop, one file each."""

from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.battery_try import BatteryTry
from wla.envs.tabletop.tasks.cover_blocks import CoverBlocks
from wla.envs.tabletop.tasks.drawer import OpenDrawer
from wla.envs.tabletop.tasks.place import Place
from wla.envs.tabletop.tasks.place_on_plate import PlaceOnPlate
from wla.envs.tabletop.tasks.place_two import PlaceTwo
from wla.envs.tabletop.tasks.press import Press
from wla.envs.tabletop.tasks.press_count import PressCount
from wla.envs.tabletop.tasks.push import Push
from wla.envs.tabletop.tasks.push_back import PushBack
from wla.envs.tabletop.tasks.rank_try import RankTry
from wla.envs.tabletop.tasks.stack import Stack

_SHORT: tuple[type[Task], ...] = (Place, Stack, Push, Press, OpenDrawer, PlaceTwo)
_MEMORY: tuple[type[Task], ...] = (PressCount, CoverBlocks, BatteryTry, RankTry)
_VIDEO: tuple[type[Task], ...] = (PlaceOnPlate, PushBack)

TASKS: dict[str, type[Task]] = {task.name: task for task in (*_SHORT, *_MEMORY, *_VIDEO)}
SHORT_TASKS: tuple[str, ...] = tuple(task.name for task in _SHORT)
"""Tasks in which a single frame determines the next action."""
MEMORY_TASKS: tuple[str, ...] = tuple(task.name for task in _MEMORY)
"""Tasks that need memory of earlier frames."""
VIDEO_TASKS: tuple[str, ...] = tuple(task.name for task in _VIDEO)
"""Tasks that are to be learned from videos without actions; their experts are for evaluation only."""

__all__ = ["MEMORY_TASKS", "SHORT_TASKS", "TASKS", "VIDEO_TASKS", "Task"]
