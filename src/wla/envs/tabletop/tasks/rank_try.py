"""Find the hidden order of three blocks by trying: swap two, press the button, check the lamp, repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import BLOCK_HALF, Block, TableObject
from wla.envs.tabletop.objects_buttons import PAD_HALF, LabelledButton, Lamp, Pad, SparePad
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.pressing import PressDetector, limit_vertical_speed, press
from wla.envs.tabletop.skills import leave, pick, put
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import TILT, random_colours
from wla.envs.tabletop.world import World

Order = tuple[str, ...]
"""Colours from left to right."""

_SIDES = ("left", "middle", "right")
_PITCH = 0.12
_ON_PAD = PAD_HALF
"""Distance from the centre of a pad below which a block counts as lying on it, metres."""
_PAD_CLEARANCE = 0.055
"""Distance from the centre of a pad below which a block occupies it, metres."""


@dataclass
class RankTry(Task):
    """Three blocks on three pads; pressing the button while the blocks are in the hidden order lights the lamp.

    Attributes:
        blocks: initial order, from left to right.
        hidden: order that lights the lamp; it is not visible.
        pads: from left to right.
        spare: pad for a block that has to make room.
        button: to press after each swap.
        lamp: green once the order was found.
        lit: whether the order was found.
        pair: index of the left one of the two pads that the expert swaps for its next try; alternating between 0 and
            1 visits all six orders.
        goal: order of the expert's next try.
    """

    blocks: tuple[Block, ...]
    hidden: Order
    pads: tuple[Pad, ...]
    spare: SparePad
    button: LabelledButton
    lamp: Lamp
    lit: bool = field(init=False, default=False)
    pair: int = field(init=False, default=0)
    goal: Order = field(init=False)
    _press_detector: PressDetector = field(init=False, default_factory=PressDetector)

    name: ClassVar[str] = "rank_try"
    step_limit: ClassVar[int] = 560
    clutter: ClassVar[PlacementRegion] = PlacementRegion(radius=0.04, x=0.2, y=0.03, centre=(0.0, 0.16))
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "find the right order of the blocks: swap two, press the button, and again until the lamp lights up",
            "swap blocks and press the button until the lamp lights up",
            "find the order of the blocks for which the lamp is green",
            "try orders of the three blocks until the lamp turns green",
            "put the blocks in the right order, the lamp shows when it is right",
            "try the orders of the blocks with the button until you find the right one",
            "make the lamp light up: swap two blocks, then press the button, and try again",
            "please find the order of the three blocks that makes the lamp turn green",
            "swap two of the blocks and press the button, again and again, until the order is right",
            "keep trying orders of the blocks, with a press of the button, until the lamp is green",
        ),
        test=(
            "find the right order of the three blocks, the lamp shows when you find it",
            "keep trying orders of the three blocks until the lamp lights up",
            "try orders of the blocks and press the button until the lamp turns green",
            "please make the lamp turn green: swap two blocks, press the button, and again",
        ),
    )

    def __post_init__(self) -> None:
        self.goal = _swapped([block.colour for block in self.blocks], self.pair)

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        x, y = rng.uniform((-0.015, 0.005), (0.015, 0.035))
        pads = tuple(Pad(side, float(x + _PITCH * (i - 1)), float(y)) for i, side in enumerate(_SIDES))
        colours = random_colours(rng, 3)
        blocks = tuple(
            Block(
                colour,
                float(pad.x + rng.uniform(-0.006, 0.006)),
                float(pad.y + rng.uniform(-0.006, 0.006)),
                float(rng.uniform(-TILT, TILT)),
            )
            for colour, pad in zip(colours, pads, strict=True)
        )
        hidden = colours
        while hidden == colours:
            hidden = tuple(str(colour) for colour in rng.permutation(colours))
        points = np.array([(-0.06, -0.105), (0.12, -0.105), (0.0, 0.15)]) + rng.uniform(-0.015, 0.015, (3, 2))
        spare, button, lamp = ((float(a), float(b)) for a, b in points)
        return cls(blocks, hidden, pads, SparePad(*spare), LabelledButton("confirm", *button), Lamp(*lamp))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (*self.blocks, *self.pads, self.spare, self.button, self.lamp)

    def update(self, world: World) -> None:
        if not self._press_detector.detect_press(world, self.button.body) or self.lit:
            return
        order = tuple(self._lying_on(world, pad) for pad in self.pads)
        if order == self.hidden:
            self.lit = True
            self.lamp.light_up(world)
        elif order == self.goal:
            self.pair = 1 - self.pair
            self.goal = _swapped(self.goal, self.pair)

    def success(self, world: World) -> bool:
        return self.lit

    def expert_action(self, world: World) -> ExpertAction:
        expert_action = self._next(world)
        return replace(expert_action, move=limit_vertical_speed(world, self.button.body, expert_action.move))

    def _next(self, world: World) -> ExpertAction:
        try_subtask = f"try the order {' '.join(self.goal)}"
        if self.lit:
            return leave(world, try_subtask, "tool")
        for block in self.blocks:
            if world.arm.holds(world, block.body):
                target = self._target(world, block)
                goal = np.array([target.x, target.y, BLOCK_HALF + 0.001])
                return replace(put(world, block, goal, ""), subtask=_move_subtask(block, target))
        wrong = [block for block in self._in_move_order() if self._lying_on(world, self._pad(block)) != block.colour]
        if not wrong:
            distance = np.hypot(*(world.position(self.button.body) - world.tool)[:2])
            # Closing the fingers above the block that has just been released would grasp it again.
            return ExpertAction(press(world, self.button.body), "tool" if distance < 0.05 else "let go", try_subtask)
        movable = [block for block in wrong if self._has_room(world, block)]
        block = (movable or wrong)[0]
        return replace(pick(world, block), subtask=_move_subtask(block, self._target(world, block)))

    def _in_move_order(self) -> list[Block]:
        """Returns the blocks, first the one that moves from left to right, because it has to make room."""
        mover, other = self.goal[self.pair + 1], self.goal[self.pair]
        rank = {mover: 0, other: 1}
        return sorted(self.blocks, key=lambda block: rank.get(block.colour, 2))

    def _pad(self, block: Block) -> Pad:
        """Returns the pad of the block in the order to be tried."""
        return self.pads[self.goal.index(block.colour)]

    def _target(self, world: World, block: Block) -> Pad | SparePad:
        """Returns the next pad of a block: its own if it is free, else the spare one."""
        return self._pad(block) if self._has_room(world, block) else self.spare

    def _has_room(self, world: World, block: Block) -> bool:
        pad = self._pad(block)
        others = (world.position(other.body) for other in self.blocks if other is not block)
        return all(np.hypot(x - pad.x, y - pad.y) > _PAD_CLEARANCE for x, y, _ in others)

    def _lying_on(self, world: World, pad: Pad) -> str:
        """Returns the colour of the block on the pad, '' for none."""
        for block in self.blocks:
            x, y, _ = world.position(block.body)
            if np.hypot(x - pad.x, y - pad.y) < _ON_PAD and world.is_on_table(block.body):
                return block.colour
        return ""


def _move_subtask(block: Block, target: Pad | SparePad) -> str:
    return f"move the {block.name} to the {target.name}"


def _swapped(order: Sequence[str], pair: int) -> Order:
    """Returns the order (colours from left to right) with positions `pair` and `pair` + 1 swapped."""
    colours = list(order)
    colours[pair], colours[pair + 1] = colours[pair + 1], colours[pair]
    return tuple(colours)
