"""Objects on the table, each with its MJCF, position, free radius and name.

The MJCF contains no positions and appearances, so that one compiled model is reused for many scenes.

Units: metres, radians, kilograms. World frame: x to the right and y away from the front camera, z up, table top at 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from wla.envs.tabletop.appearance import Appearance, Rgb, rgba
from wla.envs.tabletop.physics import Physics

BLOCK_HALF = 0.02
BOWL_INNER, BOWL_HEIGHT, BOWL_FLOOR = 0.058, 0.025, 0.004
PLATE_RADIUS, PLATE_TOP = 0.06, 0.008
BUTTON_TOP, BUTTON_TRAVEL, BUTTON_CAP = 0.034, 0.012, 0.006
DRAWER_GAP, DRAWER_TRAVEL, HANDLE_HEIGHT = 0.042, 0.08, 0.028
"""Gap between handle and drawer, travel of the drawer, and height of the handle."""
Area = tuple[float, float, float, float]
"""Centre (x, y) and half sizes along x and y, metres."""

ZONES: dict[str, Area] = {
    "left": (-0.145, 0.0, 0.05, 0.15),
    "right": (0.145, 0.0, 0.05, 0.15),
}
"""Area of each `Zone`; left and right are those of the front camera's image."""

BOWL_COLOUR: Rgb = (0.95, 0.95, 0.95)
BUTTON_COLOUR: Rgb = (0.90, 0.10, 0.75)
ZONE_COLOUR: Rgb = (0.72, 0.62, 0.85)
PLATE_COLOUR: Rgb = (0.10, 0.10, 0.12)
WOOD: Rgb = (0.52, 0.31, 0.14)
HANDLE_COLOUR: Rgb = (0.10, 0.80, 0.85)
METAL: Rgb = (0.30, 0.31, 0.33)


@dataclass(frozen=True)
class SceneObject:
    """Ground truth about a visible object.

    Attributes:
        name: as in instructions.
        colour: name of the colour.
        position: (3,) metres, world frame.
        label: number or orientation that the object displays; "" for none.
    """

    name: str
    colour: str
    position: tuple[float, float, float]
    label: str = ""


class TableObject(Protocol):
    """Object on the table at (x, y).

    Attributes:
        graspable: whether a gripper can hold it.
        name: as in instructions.
        colour: name of the colour.
        body: name of the MuJoCo body.
        x: initial position, metres.
        y: initial position, metres.
        radius: of the circle that no other object may enter initially, metres; 0 for paint on the table.
    """

    graspable: ClassVar[bool]

    @property
    def name(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def radius(self) -> float: ...

    def xml(self) -> str:
        """Returns MJCF elements for the world body, the same in every scene with this object."""
        ...

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        """Moves the object to its initial position and sets its colour."""
        ...


@runtime_checkable
class Labelled(Protocol):
    """Object that displays a number or an orientation."""

    @property
    def label(self) -> str: ...


@dataclass(frozen=True)
class Block:
    """Movable cube, identified by its colour."""

    colour: str
    x: float
    y: float
    yaw: float = 0.0
    radius: ClassVar[float] = 0.045
    graspable: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"{self.colour} block"

    @property
    def body(self) -> str:
        return f"block_{self.colour}"

    def xml(self) -> str:
        return _loose_xml(self.body, "box", f"{BLOCK_HALF} {BLOCK_HALF} {BLOCK_HALF}", mass=0.04)

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put(self.body, (self.x, self.y, BLOCK_HALF), self.yaw)
        physics.paint(self.body, appearance.blocks[self.colour])


@dataclass(frozen=True)
class Fixture:
    """Object with a fixed position and colour; a scene has at most one of each kind."""

    x: float
    y: float
    name: ClassVar[str]
    colour: ClassVar[str]
    body: ClassVar[str]
    radius: ClassVar[float]
    graspable: ClassVar[bool] = False

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        """Moves the body to its position on the table."""
        physics.put(self.body, (self.x, self.y, 0.0))


class Bowl(Fixture):
    """White bowl: a floor and a ring of twelve walls."""

    name = "bowl"
    colour = "white"
    body = "bowl"
    radius = 0.072

    def xml(self) -> str:
        sides, wall = 12, 0.003
        reach, width = BOWL_INNER + wall, (BOWL_INNER + 2 * wall) * math.tan(math.pi / sides)
        walls = "".join(
            f'<geom type="box" size="{wall} {width} {BOWL_HEIGHT / 2}" rgba="{rgba(BOWL_COLOUR)}" '
            f'pos="{reach * math.cos(turn)} {reach * math.sin(turn)} {BOWL_HEIGHT / 2}" '
            f'quat="{math.cos(turn / 2)} 0 0 {math.sin(turn / 2)}"/>'
            for turn in (2 * math.pi * side / sides for side in range(sides))
        )
        floor = (
            f'<geom type="cylinder" size="{BOWL_INNER} {BOWL_FLOOR / 2}" pos="0 0 {BOWL_FLOOR / 2}" '
            f'rgba="{rgba(BOWL_COLOUR, shade=0.8)}"/>'
        )
        return f'<body name="{self.body}">{floor}{walls}</body>'


class Button(Fixture):
    """Spring button: a magenta cap that slides down into a grey base."""

    name = "button"
    colour = "magenta"
    body = "button"
    joint: ClassVar[str] = "button_slide"
    radius = 0.06

    def xml(self) -> str:
        return spring_button_xml(self.body, BUTTON_COLOUR)

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        put_spring_button(physics, self.body, self.x, self.y)


class Plate(Fixture):
    """Flat black plate."""

    name = "plate"
    colour = "black"
    body = "plate"
    radius = 0.068

    def xml(self) -> str:
        return (
            f'<body name="{self.body}"><geom type="cylinder" size="{PLATE_RADIUS} {PLATE_TOP / 2}" '
            f'pos="0 0 {PLATE_TOP / 2}" rgba="{rgba(PLATE_COLOUR)}"/></body>'
        )


class Drawer(Fixture):
    """Wooden cabinet at the back with a drawer that slides towards the front camera; (x, y) is the closed handle."""

    name = "drawer handle"
    colour = "cyan"
    body = "drawer_handle"
    joint: ClassVar[str] = "drawer_slide"
    radius = 0.125

    def xml(self) -> str:
        """Returns cabinet and drawer; the drawer's origin is the centre of the handle, and a tool fits behind it."""
        wood, dark = rgba(WOOD), rgba(WOOD, shade=0.6)
        panel, cabinet = DRAWER_GAP + 0.010, DRAWER_GAP + 0.052
        posts = "".join(
            f'<geom type="box" size="0.004 {DRAWER_GAP / 2} 0.005" pos="{side} {DRAWER_GAP / 2} 0" mass="0.02" '
            f'rgba="{rgba(HANDLE_COLOUR)}"/>'
            for side in (-0.041, 0.041)
        )
        return (
            f'<body name="cabinet"><geom type="box" size="0.07 0.035 0.025" pos="0 {cabinet} 0.025" rgba="{wood}"/>'
            f'<body name="{self.body}" pos="0 0 {HANDLE_HEIGHT}">'
            f'<joint name="{self.joint}" type="slide" axis="0 -1 0" range="0 {DRAWER_TRAVEL}" damping="6" '
            f'frictionloss="0.3"/><geom type="box" size="0.045 0.005 0.007" mass="0.05" rgba="{rgba(HANDLE_COLOUR)}"/>'
            f'{posts}<geom type="box" size="0.062 0.005 0.021" pos="0 {panel} -0.004" mass="0.1" rgba="{dark}"/>'
            f'<geom type="box" size="0.058 0.034 0.002" pos="0 {panel + 0.038} -0.021" mass="0.1" contype="0" '
            f'conaffinity="0" rgba="{dark}"/></body></body>'
        )

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put("cabinet", (self.x, self.y, 0.0))


@dataclass(frozen=True)
class Zone:
    """Pale area painted on the table, one of `ZONES`."""

    side: str
    colour: ClassVar[str] = "violet"
    radius: ClassVar[float] = 0.0
    graspable: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"{self.side} zone"

    @property
    def body(self) -> str:
        return f"zone_{self.side}"

    @property
    def x(self) -> float:
        return ZONES[self.side][0]

    @property
    def y(self) -> float:
        return ZONES[self.side][1]

    def xml(self) -> str:
        half_x, half_y = ZONES[self.side][2:]
        return (
            f'<body name="{self.body}"><geom type="box" size="{half_x} {half_y} 0.0005" '
            f'contype="0" conaffinity="0" rgba="{rgba(ZONE_COLOUR)}"/></body>'
        )

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put(self.body, (self.x, self.y, 0.0))


@dataclass(frozen=True)
class Distractor:
    """Object that is irrelevant to every task, with a shape and colour that no task uses; at most one of each shape."""

    shape: str
    shade: Rgb
    x: float
    y: float
    yaw: float
    name: ClassVar[str] = "distractor"
    colour: ClassVar[str] = ""
    radius: ClassVar[float] = 0.045
    graspable: ClassVar[bool] = False

    @property
    def body(self) -> str:
        return f"distractor_{self.shape}"

    def xml(self) -> str:
        size, _ = DISTRACTOR_SHAPES[self.shape]
        return _loose_xml(self.body, self.shape, size, mass=0.05)

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put(self.body, (self.x, self.y, DISTRACTOR_SHAPES[self.shape][1]), self.yaw)
        physics.paint(self.body, self.shade)


DISTRACTOR_SHAPES: dict[str, tuple[str, float]] = {
    "cylinder": ("0.012 0.018", 0.018),
    "box": ("0.03 0.009 0.008", 0.008),
    "ellipsoid": ("0.022 0.022 0.009", 0.009),
}
"""MuJoCo geometry type -> its size, and the height of its centre while it lies on the table."""


def _loose_xml(body: str, shape: str, size: str, mass: float) -> str:
    """Returns a movable body with a single geometry; its colour is set for each scene."""
    return (
        f'<body name="{body}"><freejoint/>'
        f'<geom type="{shape}" size="{size}" mass="{mass}" friction="0.6 0.005 0.0001"/></body>'
    )


def spring_button_xml(body: str, colour: Rgb) -> str:
    """Returns a cap, the body `body`, that slides (joint BODY_slide) down into a grey base (BODY_base)."""
    cap = BUTTON_CAP
    base = BUTTON_TOP - 2 * cap - BUTTON_TRAVEL  # the pressed cap just reaches it
    return (
        f'<body name="{body}_base">'
        f'<geom type="cylinder" size="0.036 {base / 2}" pos="0 0 {base / 2}" rgba="{rgba(METAL)}"/></body>'
        f'<body name="{body}">'
        f'<joint name="{body}_slide" type="slide" axis="0 0 1" range="{-BUTTON_TRAVEL} 0" limited="true" '
        f'stiffness="250" springref="0.002" damping="3"/>'
        f'<geom type="cylinder" size="0.026 {cap}" mass="0.03" rgba="{rgba(colour)}"/>'
        f'<geom type="cylinder" size="0.018 0.005" pos="0 0 -0.01" mass="0.01" contype="0" conaffinity="0" '
        f'rgba="{rgba(colour, shade=0.6)}"/></body>'
    )


def put_spring_button(physics: Physics, body: str, x: float, y: float) -> None:
    """Moves a spring button to (x, y), metres, with its cap up."""
    physics.put(f"{body}_base", (x, y, 0.0))
    physics.put(body, (x, y, BUTTON_TOP - BUTTON_CAP))
