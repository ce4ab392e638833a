"""Objects of the memory tasks with buttons: labelled buttons, number cards, pads in a row, and a lamp.

Units and frame as in `objects`. `arrange` sets everything that differs between episodes or changes during one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wla.envs.tabletop.appearance import Appearance, Rgb, rgba
from wla.envs.tabletop.objects import Fixture, put_spring_button, spring_button_xml
from wla.envs.tabletop.physics import Physics

CELLS = 5
CELL_HALF_X, CELL_HALF_Y, CELL_PITCH = 0.0085, 0.013, 0.0235
CARD_HALF_X = CELLS * CELL_PITCH / 2 + 0.003
PAD_HALF = 0.032
SPARE_RADIUS = 0.036
LAMP_RADIUS = 0.034

_BUTTONS: dict[str, tuple[str, Rgb]] = {
    "first": ("cyan", (0.05, 0.80, 0.85)),
    "second": ("purple", (0.48, 0.12, 0.72)),
    "confirm": ("white", (0.95, 0.95, 0.95)),
}
_CARD: Rgb = (0.93, 0.91, 0.84)
_FILLED: Rgb = (0.06, 0.06, 0.08)
_EMPTY: Rgb = (0.80, 0.78, 0.72)
_PAD: Rgb = (0.20, 0.20, 0.22)
_SPARE: Rgb = (0.72, 0.62, 0.85)
LAMP_OFF: Rgb = (0.13, 0.14, 0.13)
LAMP_ON: Rgb = (0.45, 1.00, 0.45)


@dataclass(frozen=True)
class LabelledButton:
    """Spring button whose role, "first", "second" or "confirm", determines its colour."""

    role: str
    x: float
    y: float
    radius: ClassVar[float] = 0.06
    graspable: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"{self.role} button"

    @property
    def colour(self) -> str:
        return _BUTTONS[self.role][0]

    @property
    def body(self) -> str:
        return f"button_{self.role}"

    @property
    def joint(self) -> str:
        return f"{self.body}_slide"

    def xml(self) -> str:
        return spring_button_xml(self.body, _BUTTONS[self.role][1])

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        put_spring_button(physics, self.body, self.x, self.y)


@dataclass(frozen=True)
class NumberCard:
    """Pale card on the table that displays a number from 0 to 5 as dark cells, filled from the left."""

    role: str
    number: int
    x: float
    y: float
    colour: ClassVar[str] = "white"
    radius: ClassVar[float] = 0.06
    graspable: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"{self.role} card"

    @property
    def label(self) -> str:
        return str(self.number)

    @property
    def body(self) -> str:
        return f"card_{self.role}"

    def xml(self) -> str:
        """Returns flat pieces side by side, because layers would be too close for the renderer's depth buffer."""
        gap, rim = CELL_PITCH / 2 - CELL_HALF_X, 0.003
        pieces = [_flat(0.0, side * (CELL_HALF_Y + rim), CARD_HALF_X, rim, _CARD) for side in (-1, 1)]
        for i in range(CELLS):
            middle = (i - (CELLS - 1) / 2) * CELL_PITCH
            pieces.append(_flat(middle, 0.0, CELL_HALF_X, CELL_HALF_Y, _EMPTY, self._cell(i)))
            pieces += [
                _flat(middle + side * (CELL_HALF_X + gap / 2), 0.0, gap / 2, CELL_HALF_Y, _CARD) for side in (-1, 1)
            ]
        edge = CARD_HALF_X - CELLS * CELL_PITCH / 2
        pieces += [_flat(side * (CARD_HALF_X - edge / 2), 0.0, edge / 2, CELL_HALF_Y, _CARD) for side in (-1, 1)]
        return f'<body name="{self.body}">{"".join(pieces)}</body>'

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put(self.body, (self.x, self.y, 0.0))
        for i in range(CELLS):
            physics.model.geom(self._cell(i)).rgba[:3] = _FILLED if i < self.number else _EMPTY

    def _cell(self, i: int) -> str:
        return f"{self.body}_cell_{i}"


@dataclass(frozen=True)
class Pad:
    """Dark square painted on the table, the target of one block. side: "left", "middle" or "right"."""

    side: str
    x: float
    y: float
    colour: ClassVar[str] = "black"
    radius: ClassVar[float] = 0.0
    graspable: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return f"{self.side} pad"

    @property
    def body(self) -> str:
        return f"pad_{self.side}"

    def xml(self) -> str:
        return (
            f'<body name="{self.body}"><geom type="box" size="{PAD_HALF} {PAD_HALF} 0.0005" '
            f'contype="0" conaffinity="0" rgba="{rgba(_PAD)}"/></body>'
        )

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        physics.put(self.body, (self.x, self.y, 0.0))


class SparePad(Fixture):
    """Pale disc painted on the table, for a block that has to make room."""

    name = "spare pad"
    colour = "violet"
    body = "pad_spare"
    radius = 0.05

    def xml(self) -> str:
        return (
            f'<body name="{self.body}"><geom type="cylinder" size="{SPARE_RADIUS} 0.0005" '
            f'contype="0" conaffinity="0" rgba="{rgba(_SPARE)}"/></body>'
        )


class Lamp(Fixture):
    """Dome that is dark at the start of an episode."""

    name = "lamp"
    colour = "dark"
    body = "lamp"
    radius = 0.045

    def xml(self) -> str:
        return f'<body name="{self.body}"><geom type="sphere" size="{LAMP_RADIUS}"/></body>'

    def arrange(self, physics: Physics, appearance: Appearance) -> None:
        super().arrange(physics, appearance)
        physics.paint(self.body, LAMP_OFF)

    def light_up(self, physics: Physics) -> None:
        """Makes the lamp green until the scene is arranged again."""
        physics.paint(self.body, LAMP_ON)


def _flat(x: float, y: float, half_x: float, half_y: float, colour: Rgb, name: str = "") -> str:
    """Returns a flat rectangle centred at (x, y), without collisions."""
    named = f'name="{name}" ' if name else ""
    return (
        f'<geom {named}type="box" size="{half_x} {half_y} 0.001" pos="{x} {y} 0" contype="0" conaffinity="0" '
        f'rgba="{rgba(colour)}"/>'
    )
