"""Counting presses of spring buttons, and the motions of those who press them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.objects import BUTTON_TOP, BUTTON_TRAVEL
from wla.envs.tabletop.skills import come_down, ramp
from wla.envs.tabletop.world import World

CLEAR = 0.035
"""Height (metres) of the tool's tip over the cap from which it is clearly up."""
_DOWN, _UP = 0.012, 0.016
"""Metres per step below it, so that going down and coming up can be seen. Up is fast enough that a push from outside
hardly ever makes a second press of it."""


@dataclass
class PressDetector:
    """Which buttons are down. Pressing and letting go have thresholds apart, so that a bounce does not count twice."""

    _down: set[str] = field(default_factory=set)

    def detect_press(self, world: World, body: str) -> bool:
        """Whether the button `body` has just gone down; to be asked once every control step."""
        slide = world.joint_position(f"{body}_slide")
        if body in self._down:
            if slide > -0.3 * BUTTON_TRAVEL:
                self._down.remove(body)
        elif slide < -0.6 * BUTTON_TRAVEL:
            self._down.add(body)
            return True
        return False


def height(world: World) -> float:
    """How far (metres) the tool's tip is above the cap of a button that is up."""
    return float(world.tool[2] - world.arm.tip - BUTTON_TOP)


def press(world: World, body: str) -> Float64[np.ndarray, " 3"]:
    """The move (3,) that goes to the button `body` and holds it down."""
    x, y, _ = world.position(body)
    return come_down(world, np.array([x, y, BUTTON_TOP - BUTTON_TRAVEL + world.arm.tip]))


def limit_vertical_speed(world: World, body: str, move: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """The `move` (3,), slowed down as far as it goes up or down right over the button `body`."""
    aside = float(np.hypot(*(world.position(body) - world.tool)[:2]))
    above = height(world) - CLEAR
    free = 0.1 * ramp(aside, 0.03, 0.05)  # beside the button this is faster than any arm
    down = _DOWN + max(0.0, above) + free
    up = _UP + 0.1 * ramp(above, -0.001, 0.005) + free
    return np.array([move[0], move[1], np.clip(move[2], -down, up)])
