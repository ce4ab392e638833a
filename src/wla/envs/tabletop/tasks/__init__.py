"""Tasks of the tabletop by name, one module each, which is imported when the task is requested."""

from importlib import import_module

from wla.envs.tabletop.tasks.base import Task

SHORT_TASKS = ("place", "stack", "push", "press", "drawer", "place_two")
"""Tasks in which a single frame determines the next action."""
MEMORY_TASKS = ("press_count", "cover_blocks", "battery_try", "rank_try")
"""Tasks that need memory of earlier frames."""
VIDEO_TASKS = ("place_on_plate", "push_back")
"""Tasks that are to be learned from videos without actions; their experts are for evaluation only."""
TASKS = (*SHORT_TASKS, *MEMORY_TASKS, *VIDEO_TASKS)


def load_task(name: str) -> type[Task]:
    """The task that the module of this name defines."""
    assert name in TASKS, f"{name} is not listed here"
    defined = vars(import_module(f"{__name__}.{name}")).values()
    return next(found for found in defined if isinstance(found, type) and vars(found).get("name") == name)
