"""Objects of the tasks with hidden state: lids that cover blocks, cells that fit a slot in two orientations, a dial.

Units and frame as in `objects`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from wla.envs.tabletop.appearance import Appearance, Rgb, rgba
from wla.envs.tabletop.objects import BLOCK_HALF, METAL, Fixture
from wla.envs.tabletop.physics import Physics

Orientation = Literal["along", "across"]
"""Orientation of a cell's long side: along the viewing direction of the front camera, or from left to right."""

LID_INNER, LID_ROOM, LID_WALL = 0.040, 0.044, 0.003
"""Half width and height of the cavity, and thickness of its walls."""
LID_KNOB = LID_ROOM + LID_WALL + BLOCK_HALF
"""Height of the knob's centre while the lid stands on the table."""
LID_COLOUR: Rgb = (0.93, 0.92, 0.88)
KNOB_COLOUR: Rgb = (0.20, 0.20, 0.22)

CELL_HALF_LENGTH, CELL_HALF_WIDTH = 0.03, BLOCK_HALF
CELL_COLOURS: dict[str, tuple[str, Rgb]] = {
    "left": ("cyan", (0.10, 0.80, 0.85)),
    "right": ("magenta", (0.90, 0.10, 0.75)),
}
BAY_X, BAY_HALF = 0.06, 0.036
"""Distance of the bays' centres from the slot's centre, and half width of a bay."""

DIAL_DISC, DIAL_HEIGHT, FIN_LENGTH, FIN_HALF, FIN_TOP = 0.045, 0.012, 0.05, 0.005, 0.045
"""Radius and height of the disc; length, half thickness and upper edge of the fin."""
DIAL_RANGE = 1.1
FIN_COLOUR: Rgb = (0.95, 0.85, 0.08)

_FRICTION = 'friction="0.6 0.005 0.0001"'
_PAINT = 'contype="0" conaffinity="0"'


@dataclass(frozen=True)
class Lid:
    """Box without a floor that hides a block. Its origin is the centre of the round knob, graspable from any side."""

    side: str
    x: float
    y: float
    yaw: float = 0.0
    colour: ClassVar[str] = "white"
    radius: ClassVar[float] = 0.055
    graspable: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"{self.side} lid"

    @property
    def body(self) -> str:
        return f"lid_{self.side}"

    def xml(self) -> str:
        half, outer = LID_WALL / 2, LID_INNER + LID_WALL
        top, middle = -BLOCK_HALF - half, -BLOCK_HALF - LID_WALL - LID_ROOM / 2
        side = LID_INNER + half
        pale, paler = rgba(LID_COLOUR, shade=0.8), rgba(LID_COLOUR)
        walls = "".join(
            f'<geom type="box" size="{size_x} {size_y} {LID_ROOM / 2}" pos="{x} {y} {middle}" mass="0.006" '
            f'{_FRICTION} rgba="{pale}"/>'
            for x, y, size_x, size_y in (
                (-side, 0.0, half, outer),
                (side, 0.0, half, outer),
                (0.0, -side, outer, half),
                (0.0, side, outer, half),
            )
        )
        return (
            f'<body name="{self.body}"><freejoint/>'
            f'<geom type="cylinder" size="{BLOCK_HALF} {BLOCK_HALF}" mass="0.008" {_FRICTION} '
            f'rgba="{rgba(KNOB_COLOUR)}"/>'
            f'<geom type="box" size="{outer} {outer} {half}" pos="0 0 {top}" mass="0.006" {_FRICTION} rgba="{paler}"/>'
            f"{walls}</body>"
        )

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put(self.body, (self.x, self.y, LID_KNOB), self.yaw)


@dataclass(frozen=True)
class Cell:
    """Bar with metal ends. The body's x axis is its long side; tilt: deviation from the orientation, radians."""

    side: str
    x: float
    y: float
    orientation: Orientation
    tilt: float = 0.0
    radius: ClassVar[float] = 0.05
    graspable: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"{self.side} cell"

    @property
    def label(self) -> str:
        return self.orientation

    @property
    def colour(self) -> str:
        return CELL_COLOURS[self.side][0]

    @property
    def body(self) -> str:
        return f"cell_{self.side}"

    def xml(self) -> str:
        cap = 0.006
        end = CELL_HALF_LENGTH - cap + 0.0005
        half = CELL_HALF_WIDTH + 0.0005  # slightly larger than the bar, so that the metal is rendered in front of it
        caps = "".join(
            f'<geom type="box" size="{cap} {half} {half}" pos="{x} 0 0" mass="0" {_PAINT} rgba="{rgba(METAL)}"/>'
            for x in (-end, end)
        )
        return (
            f'<body name="{self.body}"><freejoint/>'
            f'<geom type="box" size="{CELL_HALF_LENGTH} {CELL_HALF_WIDTH} {CELL_HALF_WIDTH}" mass="0.05" {_FRICTION} '
            f'rgba="{rgba(CELL_COLOURS[self.side][1])}"/>{caps}</body>'
        )

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put(self.body, (self.x, self.y, CELL_HALF_WIDTH), heading_of(self.orientation) + self.tilt)


def heading_of(orientation: Orientation) -> float:
    """Returns the direction of a cell's long side, radians."""
    return 0.0 if orientation == "across" else math.pi / 2


class Slot(Fixture):
    """Two bays side by side, painted on the table."""

    name = "slot"
    colour = "grey"
    body = "slot"
    radius = 0.04

    def xml(self) -> str:
        frame = BAY_X + BAY_HALF + 0.006
        bays = "".join(
            f'<geom type="box" size="{BAY_HALF} {BAY_HALF} 0.001" pos="{x} 0 0" {_PAINT} rgba="0.72 0.72 0.74 1"/>'
            for x in (-BAY_X, BAY_X)
        )
        return (
            f'<body name="{self.body}"><geom type="box" size="{frame} {BAY_HALF + 0.006} 0.0005" {_PAINT} '
            f'rgba="{rgba(METAL)}"/>{bays}</body>'
        )


class Dial(Fixture):
    """Fin on a disc that points to the left, and to the front camera once it is turned.

    It starts locked; `Physics.limit` on its joint unlocks it. The armature makes the stop hard for a strong arm.
    """

    name = "dial"
    colour = "yellow"
    body = "dial"
    joint: ClassVar[str] = "dial_hinge"
    radius = 0.06

    def xml(self) -> str:
        high = (FIN_TOP - DIAL_HEIGHT) / 2
        return (
            '<body name="dial_base">'
            f'<geom type="cylinder" size="{DIAL_DISC} {DIAL_HEIGHT / 2}" pos="0 0 {DIAL_HEIGHT / 2}" '
            f'rgba="{rgba(METAL, shade=0.5)}"/>'
            f'<body name="{self.body}" pos="0 0 {DIAL_HEIGHT + high}">'
            f'<joint name="{self.joint}" type="hinge" axis="0 0 1" range="0 {DIAL_RANGE}" damping="0.3" '
            'frictionloss="0.05" armature="0.03" solreflimit="0.01 1"/>'
            f'<geom type="box" size="{FIN_LENGTH / 2} {FIN_HALF} {high}" pos="{-FIN_LENGTH / 2} 0 0" mass="0.03" '
            f'rgba="{rgba(FIN_COLOUR)}"/>'
            f'<geom type="cylinder" size="0.012 {high}" mass="0.03" {_PAINT} rgba="{rgba(FIN_COLOUR)}"/></body></body>'
        )

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put("dial_base", (self.x, self.y, 0.0))
        physics.limit(self.joint, 0.0, 0.0)
