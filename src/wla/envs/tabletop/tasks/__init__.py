"""The tasks of the tabletop by name, one module each, which is imported when the task is asked for."""

from importlib import import_module

from wla.envs.tabletop.tasks.base import Task

SHORT_TASKS = ("place", "stack", "push", "press", "drawer", "place_two")
"""The tasks in which a single frame tells what to do next."""
MEMORY_TASKS = ("press_count", "cover_blocks", "battery_try", "rank_try")
"""The tasks in which it does not."""
VIDEO_TASKS = ("place_on_plate", "push_back")
"""The tasks that are to be learned from videos: their actions are for evaluation only."""
TASKS = (*SHORT_TASKS, *MEMORY_TASKS, *VIDEO_TASKS)


def load_task(name: str) -> type[Task]:
    """The task that the module of this name defines."""
    assert name in TASKS, f"{name} is not listed here"
    defined = vars(import_module(f"{__name__}.{name}")).values()
    return next(found for found in defined if isinstance(found, type) and vars(found).get("name") == name)
