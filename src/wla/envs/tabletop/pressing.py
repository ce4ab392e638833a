"""Detection of button presses, and the motions of experts that press buttons."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.objects import BUTTON_TOP, BUTTON_TRAVEL
from wla.envs.tabletop.skills import come_down, ramp
from wla.envs.tabletop.world import World

CLEAR = 0.035
"""Height of the tool's tip above the cap from which the tool counts as up, metres."""
_DOWN, _UP = 0.012, 0.016
"""Vertical speed below that height, metres per step, slow enough that both directions are visible. Moving up is fast
enough that a perturbation rarely causes a second press."""


@dataclass
class PressDetector:
    """Detector of presses. The thresholds of pressing and releasing differ, so that a bounce does not count twice."""

    _down: set[str] = field(default_factory=set)

    def detect_press(self, world: World, body: str) -> bool:
        """Returns whether the button `body` was pressed in this control step; must be called once per step."""
        slide = world.joint_position(f"{body}_slide")
        if body in self._down:
            if slide > -0.3 * BUTTON_TRAVEL:
                self._down.remove(body)
        elif slide < -0.6 * BUTTON_TRAVEL:
            self._down.add(body)
            return True
        return False


def height(world: World) -> float:
    """Returns the height of the tool's tip above the cap of a released button, metres."""
    return float(world.tool[2] - world.arm.tip - BUTTON_TOP)


def press(world: World, body: str) -> Float64[np.ndarray, " 3"]:
    """Returns the displacement (3,), metres, that moves to the button `body` and holds it down."""
    x, y, _ = world.position(body)
    return come_down(world, np.array([x, y, BUTTON_TOP - BUTTON_TRAVEL + world.arm.tip]))


def limit_vertical_speed(world: World, body: str, move: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """Limits the vertical speed of a displacement close above a button.

    Args:
        world: scene.
        body: the button.
        move: displacement, (3,) metres.
    """
    distance = float(np.hypot(*(world.position(body) - world.tool)[:2]))
    above = height(world) - CLEAR
    free = 0.1 * ramp(distance, 0.03, 0.05)  # beside the button the limit exceeds the speed of every arm
    down = _DOWN + max(0.0, above) + free
    up = _UP + 0.1 * ramp(above, -0.001, 0.005) + free
    return np.array([move[0], move[1], np.clip(move[2], -down, up)])
