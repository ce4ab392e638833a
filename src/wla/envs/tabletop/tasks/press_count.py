"""Press two buttons as often as the numbers on their cards, then confirm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import BUTTON_TOP, TableObject
from wla.envs.tabletop.objects_buttons import CELLS, LabelledButton, NumberCard
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.pressing import CLEAR, PressDetector, height, limit_vertical_speed, press
from wla.envs.tabletop.skills import leave
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.world import World

_PITCH, _SHIFT, _JITTER = 0.135, 0.015, 0.003
"""Distance between buttons, random shift of the row, and random shift of each button, metres along x; with larger
values cards would overlap or leave the image."""
_CARD_Y = -0.125
"""Position of the cards in front of the buttons, where the arm never occludes them from the front camera."""


@dataclass
class PressCount(Task):
    """Three buttons and two cards. A press counts on its falling edge and is not visible afterwards.

    Attributes:
        buttons: first, second, confirm.
        cards: of the first and the second button.
        counts: presses of the first and the second button.
        confirmed: whether the counts were correct at the first press of confirm; None before it.
        pressed: last pressed button, until the tool is clear of it.
    """

    buttons: tuple[LabelledButton, LabelledButton, LabelledButton]
    cards: tuple[NumberCard, NumberCard]
    counts: list[int] = field(init=False, default_factory=lambda: [0, 0])
    confirmed: bool | None = field(init=False, default=None)
    pressed: LabelledButton | None = field(init=False, default=None)
    _press_detector: PressDetector = field(init=False, default_factory=PressDetector)

    name: ClassVar[str] = "press_count"
    step_limit: ClassVar[int] = 170
    clutter: ClassVar[PlacementRegion] = PlacementRegion(radius=0.035, x=0.2, y=0.03, centre=(0.0, 0.16))
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "press the buttons as often as their cards say, then confirm",
            "press each button as often as its card says and then confirm",
            "press the first and the second button as many times as the cards show, then press confirm",
            "press each of the two buttons the number of times on its card, then press the confirm button",
            "push the buttons as often as the cards show, then push the confirm button",
            "read the cards, press the buttons that many times and confirm",
            "first press the buttons as often as the cards say, then confirm",
            "please press each button as many times as its card shows, and confirm",
            "count the cells on the cards, press the buttons that often and then confirm",
            "press the two buttons the number of times that their cards show and press confirm",
        ),
        test=(
            "press each button as many times as its card says, then press the confirm button",
            "please read the cards, push each button that often and then confirm",
            "push the two buttons as often as their cards say and confirm",
            "first count the cells on each card, then press the buttons that many times and press confirm",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        x = _PITCH * np.arange(-1, 2) + rng.uniform(-_SHIFT, _SHIFT) + rng.uniform(-_JITTER, _JITTER, 3)
        y = rng.uniform(-0.03, 0.04, 3)
        first, second, confirm = (
            LabelledButton(role, float(x[i]), float(y[i])) for i, role in enumerate(("first", "second", "confirm"))
        )
        card_y = _CARD_Y + rng.uniform(-0.01, 0.01, 2)
        one, two = (
            NumberCard(button.role, int(rng.integers(1, CELLS + 1)), button.x, float(card_y[i]))
            for i, button in enumerate((first, second))
        )
        return cls((first, second, confirm), (one, two))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (*self.buttons, *self.cards)

    def update(self, world: World) -> None:
        if height(world) >= CLEAR:
            self.pressed = None
        for i, button in enumerate(self.buttons):
            if not self._press_detector.detect_press(world, button.body):
                continue
            self.pressed = button
            if i < 2:
                self.counts[i] += 1
            elif self.confirmed is None:
                self.confirmed = self.counts == self._numbers

    def success(self, world: World) -> bool:
        return self.confirmed is True and not self._count_exceeded

    def failed(self, world: World) -> bool:
        return self.confirmed is False or self._count_exceeded

    def expert_action(self, world: World) -> ExpertAction:
        if self.pressed is not None:
            confirm = self.pressed is self.buttons[2]
            return self._up(world, self.pressed, f"{'press' if confirm else 'let go of'} the {self.pressed.name}")
        if self.confirmed is not None:
            return self._up(world, self.buttons[2], f"press the {self.buttons[2].name}")
        for button, count, number in zip(self.buttons[:2], self.counts, self._numbers, strict=True):
            if count < number:
                return self._down(world, button, f"press the {button.name} {count + 1} of {number}")
        return self._down(world, self.buttons[2], f"press the {self.buttons[2].name}")

    def _down(self, world: World, button: LabelledButton, subtask: str) -> ExpertAction:
        return ExpertAction(limit_vertical_speed(world, button.body, press(world, button.body)), "tool", subtask)

    def _up(self, world: World, button: LabelledButton, subtask: str) -> ExpertAction:
        # The fingers open on the way up: else a single frame could not distinguish it from the way down.
        up = leave(world, subtask, height=BUTTON_TOP + world.arm.tip + CLEAR + 0.012)
        return replace(up, move=limit_vertical_speed(world, button.body, up.move))

    @property
    def _numbers(self) -> list[int]:
        return [card.number for card in self.cards]

    @property
    def _count_exceeded(self) -> bool:
        return any(count > number for count, number in zip(self.counts, self._numbers, strict=True))
