"""The objects of the tasks, as instructions name them, and where the benchmark states their positions."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from wla.envs.family import Position

_FIRST, _SECOND, _GOAL = slice(4, 7), slice(11, 14), slice(36, 39)
"""Positions in the benchmark's observation of 39 numbers; those of an object that a task lacks are zero."""
_OBJECTS = {
    "button": ("button-press-topdown", "button-press-topdown-wall", "button-press", "button-press-wall"),
    "button of the coffee machine": ("coffee-button",),
    "mug": ("coffee-pull", "coffee-push"),
    "nut": ("assembly", "disassemble"),
    "ball": ("basketball", "soccer"),
    "lid": ("box-close",),
    "dial": ("dial-turn",),
    "door": ("door-close", "door-open"),
    "lock": ("door-lock", "door-unlock"),
    "drawer": ("drawer-close", "drawer-open"),
    "faucet": ("faucet-close", "faucet-open"),
    "hammer": ("hammer",),
    "hole": ("hand-insert",),
    "handle": ("handle-press", "handle-press-side", "handle-pull", "handle-pull-side"),
    "lever": ("lever-pull",),
    "peg": ("peg-insert-side", "peg-unplug-side"),
    "plate": ("plate-slide", "plate-slide-side", "plate-slide-back", "plate-slide-back-side"),
    "stick": ("stick-pull", "stick-push"),
    "window": ("window-close", "window-open"),
    "puck": (
        *("bin-picking", "pick-out-of-hole", "pick-place", "pick-place-wall", "push", "push-back", "push-wall"),
        *("reach", "reach-wall", "shelf-place", "sweep", "sweep-into"),
    ),
}
"""First object -> the tasks that it is in."""
_NAMES = {f"{task}-v3": name for name, tasks in _OBJECTS.items() for task in tasks}
_SECOND_NAMES = {"stick-pull-v3": "thermos", "stick-push-v3": "thermos", "hammer-v3": "nail"}
"""What a second object is, where instructions name it."""


def positions(task: str, full_state: Float[np.ndarray, " 39"]) -> dict[str, Position]:
    """Name -> position (metres, world) of the task's objects and of its goal.

    full_state: the benchmark's observation. Handles stand for doors, drawers and windows.
    """
    found = {_NAMES[task]: full_state[_FIRST], "goal": full_state[_GOAL]}
    if task in _SECOND_NAMES:
        found[_SECOND_NAMES[task]] = full_state[_SECOND]
    return {name: (float(x), float(y), float(z)) for name, (x, y, z) in found.items()}
