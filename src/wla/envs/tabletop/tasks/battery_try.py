"""Find the orientations of two cells in a slot by trying: a dial turns if and only if both are correct."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import TableObject
from wla.envs.tabletop.objects_lids import (
    BAY_X,
    CELL_HALF_WIDTH,
    DIAL_HEIGHT,
    DIAL_RANGE,
    FIN_HALF,
    FIN_TOP,
    Cell,
    Dial,
    Orientation,
    Slot,
    heading_of,
)
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.skills import come_down, is_released, leave, pick, put, ramp
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.world import World

OrientationPair = tuple[Orientation, Orientation]
"""Orientations of the left and the right cell."""
ORIENTATIONS: tuple[Orientation, Orientation] = ("along", "across")
TURNED = 0.6
"""Angle from which the dial counts as turned, radians."""
_PUSHES = 3
"""Number of consecutive control steps of pushing against the locked dial that count as a try."""
_LEVER = 0.036
"""Distance to the left of the hinge at which the expert pushes, metres."""
_IN_BAY, _ASKEW = 0.026, 0.5
"""Largest distance of a cell from the centre of its bay, metres, and largest sine of its angle error."""
_OTHER: dict[Orientation, Orientation] = {"along": "across", "across": "along"}


@dataclass
class BatteryTry(Task):
    """Two cells, a slot with two bays, and a dial.

    Attributes:
        slot: where both cells are placed.
        dial: what to turn.
        cells: left and right cell.
        solution: pair that unlocks the dial; it is not visible.
        tried: pairs with which the dial was found locked.
        pushes: consecutive control steps of pushing against the locked dial.
        unlocked: whether the dial can be turned now.
    """

    slot: Slot
    dial: Dial
    cells: tuple[Cell, Cell]
    solution: OrientationPair
    tried: list[OrientationPair] = field(init=False, default_factory=list)
    pushes: int = field(init=False, default=0)
    unlocked: bool = field(init=False, default=False)

    name: ClassVar[str] = "battery_try"
    step_limit: ClassVar[int] = 300
    clutter: ClassVar[PlacementRegion] = PlacementRegion(radius=0.03, x=0.2, y=0.01, centre=(0.0, -0.16))
    embodiments: ClassVar[tuple[str, ...]] = ("gantry",)  # the scara cannot turn the cells
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "put both cells in the slot and find the ways in which the dial turns",
            "put the two cells in the slot the right way round, then turn the dial",
            "put the cells in the slot, and turn them until the dial turns",
            "place both cells in the slot and try the dial until it turns",
            "place the cells in the slot, try the dial, and turn a cell when it is locked",
            "find out which way round the two cells go in the slot, and turn the dial",
            "try the cells in the slot until the dial can be turned",
            "please put both cells into the slot and turn the dial",
            "the two cells go into the slot; try both ways round until the dial turns",
            "turn the dial with the cells the right way round in the slot",
        ),
        test=(
            "place the two cells into the slot and turn them until the dial can be turned",
            "find the way round in which the cells go in the slot, then turn the dial",
            "please place both cells in the slot, try the dial, and turn a cell until it turns",
            "put the cells into the slot and find out in which ways the dial turns",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        def near(x: float, y: float, jitter_x: float, jitter_y: float) -> tuple[float, float]:
            dx, dy = rng.uniform(-1.0, 1.0, 2) * (jitter_x, jitter_y)
            return float(x + dx), float(y + dy)

        slot = Slot(*near(0.0, -0.03, 0.012, 0.012))
        dial = Dial(*near(0.0, 0.10, 0.03, 0.01))
        left, right = (
            Cell(
                side, *near(x, -0.03, 0.012, 0.03), ORIENTATIONS[int(rng.integers(2))], float(rng.uniform(-0.05, 0.05))
            )
            for side, x in (("left", -0.172), ("right", 0.172))
        )
        return cls(slot, dial, (left, right), (ORIENTATIONS[int(rng.integers(2))], ORIENTATIONS[int(rng.integers(2))]))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (self.slot, self.dial, *self.cells)

    @property
    def plan(self) -> tuple[OrientationPair, ...]:
        """Pairs in the order of the expert's tries: the initial orientations, then one cell turned at a time."""
        left, right = (cell.orientation for cell in self.cells)
        return (left, right), (left, _OTHER[right]), (_OTHER[left], _OTHER[right]), (_OTHER[left], right)

    def update(self, world: World) -> None:
        """Locks or unlocks the dial, and records pairs that were tried in vain."""
        left, right = (self._orientation(world, number) for number in range(2))
        unlocked = (left, right) == self.solution
        if unlocked != self.unlocked:
            # A dial that is partly turned keeps its angle when it locks.
            world.limit(Dial.joint, 0.0, DIAL_RANGE if unlocked else max(0.0, world.joint_position(Dial.joint)))
            self.unlocked = unlocked
        pushing = left is not None and right is not None and not unlocked and world.touches_tool(Dial.body)
        self.pushes = self.pushes + 1 if pushing else 0
        if self.pushes >= _PUSHES and left and right and (left, right) not in self.tried:
            self.tried.append((left, right))

    def success(self, world: World) -> bool:
        return self.unlocked and world.joint_position(Dial.joint) > TURNED

    def expert_action(self, world: World) -> ExpertAction:
        """Returns an action towards the next untried pair: first the cells, then the dial."""
        count = next(number for number, pair in enumerate(self.plan) if pair not in self.tried)
        target = self.plan[count]
        for number, cell in enumerate(self.cells):
            placed = self._orientation(world, number) == target[number]
            if not (placed and is_released(world, cell)):
                turned = count > 0 and self.plan[count - 1][number] != target[number]
                subtask = f"turn the {cell.name} {target[number]}" if turned else f"put the {cell.name} in the slot"
                return replace(self._place(world, number, target[number], placed), subtask=subtask)
        return self._turn_dial(world, f"try the dial with {target[0]} {target[1]}")

    def _place(self, world: World, number: int, orientation: Orientation, placed: bool) -> ExpertAction:
        """Places a cell in its bay with the given orientation."""
        cell = self.cells[number]
        goal = self._bay(number)
        near_dial = np.hypot(*(world.position(Dial.body) - world.tool)[:2]) < 0.06
        if near_dial and world.tool[2] - world.arm.tip < FIN_TOP + 0.005:
            return leave(world, "", "tool")  # an open gripper would catch on the fin
        if world.arm.holds(world, cell.body):
            return put(world, cell, goal, Slot.name, turn=_misalignment(world, heading_of(orientation)))
        if placed:
            return leave(world, "", height=goal[2] + 0.065)
        return pick(world, cell, turn=_misalignment(world, world.heading(cell.body)))

    def _turn_dial(self, world: World, subtask: str) -> ExpertAction:
        """Moves down behind the fin and pushes it to the front, where the tool does not occlude it.

        Closed fingers are also stiff in this direction.
        """
        angle, tool, hinge = world.joint_position(Dial.joint), world.tool, world.position(Dial.body)
        if self.unlocked and angle > TURNED + 0.1:
            return leave(world, subtask, "tool")
        turn = world.arm.misalignment(world, 0.0, math.pi)
        height = world.arm.tip + DIAL_HEIGHT + 0.008
        half_width = world.arm.half_width
        start = np.array([hinge[0] - _LEVER, hinge[1] + FIN_HALF + half_width + 0.014, height])
        offset = start - tool
        # The corner of the tool that is nearest to the hinge touches the turned fin first.
        fin = hinge[1] - (hinge[0] - tool[0] - half_width) * math.tan(angle) + FIN_HALF / math.cos(angle)
        gap = tool[1] - half_width - fin
        low = 1.0 - ramp(abs(offset[2]), 0.008, 0.016)
        if low > 0.0 and abs(offset[0]) < 0.014 and -0.012 < gap < 0.06:
            return ExpertAction(np.array([offset[0], -0.015 * low, offset[2]]), "tool", subtask, turn)
        return ExpertAction(come_down(world, start, slack=0.04 * abs(turn)), "tool", subtask, turn)

    def _bay(self, number: int) -> np.ndarray:
        """Returns the target of the centre of the left (0) or right (1) cell, (3,) metres."""
        return np.array([self.slot.x + (-BAY_X, BAY_X)[number], self.slot.y, CELL_HALF_WIDTH + 0.002])

    def _orientation(self, world: World, number: int) -> Orientation | None:
        """Returns the orientation of a cell in its bay; None when it is outside of the bay or askew."""
        body = self.cells[number].body
        offset = world.position(body) - self._bay(number)
        if np.hypot(offset[0], offset[1]) > _IN_BAY or abs(offset[2]) > 0.006:
            return None
        heading = world.heading(body)
        return next(
            (orientation for orientation in ORIENTATIONS if abs(math.sin(heading - heading_of(orientation))) < _ASKEW),
            None,
        )


def _misalignment(world: World, heading: float) -> float:
    """Returns the rotation that the gripper needs to grasp a cell of this heading by its short side, radians."""
    return world.arm.misalignment(world, heading - math.pi / 2, math.pi)
