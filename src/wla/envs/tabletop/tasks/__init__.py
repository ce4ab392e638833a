"""The tasks of the tabletop, one file each."""

from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.place import Place
from wla.envs.tabletop.tasks.press import Press
from wla.envs.tabletop.tasks.push import Push

TASKS: dict[str, type[Task]] = {task.name: task for task in (Place, Press, Push)}

__all__ = ["TASKS", "Task"]
