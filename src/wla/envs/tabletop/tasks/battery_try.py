"""Find out which ways round two cells belong in a slot: a dial turns when they are right and gives no other sign."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.instructions import Phrasings
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
"""How the left and the right cell lie."""
ORIENTATIONS: tuple[Orientation, Orientation] = ("along", "across")
TURNED = 0.6
"""Angle (radians) from which the dial counts as turned."""
_PUSHES = 3
"""So many control steps of pushing against the locked dial make a try."""
_LEVER = 0.036
"""How far (metres) to the left of the hinge the expert pushes."""
_IN_BAY, _ASKEW = 0.026, 0.5
"""How far a cell may lie from the middle of its bay (metres) and from its way (sine of the angle)."""
_OTHER: dict[Orientation, Orientation] = {"along": "across", "across": "along"}


@dataclass
class BatteryTry(Task):
    """`solution` is the pair that unlocks the dial; nothing shows it. `tried`: the pairs that the dial has refused."""

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
    embodiments: ClassVar[tuple[str, ...]] = ("gantry",)  # the cells have to be turned, and the scara cannot
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
        def near(x: float, y: float, reach_x: float, reach_y: float) -> tuple[float, float]:
            a, b = rng.uniform(-1.0, 1.0, 2) * (reach_x, reach_y)
            return float(x + a), float(y + b)

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
        """The pairs in the order in which the expert tries them: as they lie, then turning one cell at a time."""
        left, right = (cell.orientation for cell in self.cells)
        return (left, right), (left, _OTHER[right]), (_OTHER[left], _OTHER[right]), (_OTHER[left], right)

    def update(self, world: World) -> None:
        """Lock or unlock the dial, and note what it has refused."""
        left, right = (self._orientation(world, number) for number in range(2))
        unlocked = (left, right) == self.solution
        if unlocked != self.unlocked:
            # A dial that has been turned a little stays there when it locks.
            world.limit(Dial.joint, 0.0, DIAL_RANGE if unlocked else max(0.0, world.joint_position(Dial.joint)))
            self.unlocked = unlocked
        pushing = left is not None and right is not None and not unlocked and world.touches_tool(Dial.body)
        self.pushes = self.pushes + 1 if pushing else 0
        if self.pushes >= _PUSHES and left and right and (left, right) not in self.tried:
            self.tried.append((left, right))

    def success(self, world: World) -> bool:
        return self.unlocked and world.joint_position(Dial.joint) > TURNED

    def expert_action(self, world: World) -> ExpertAction:
        """The next pair that has not been refused: first the cells, then the dial."""
        count = next(number for number, pair in enumerate(self.plan) if pair not in self.tried)
        wanted = self.plan[count]
        for number, cell in enumerate(self.cells):
            placed = self._orientation(world, number) == wanted[number]
            if not (placed and is_released(world, cell)):
                turned = count > 0 and self.plan[count - 1][number] != wanted[number]
                subtask = f"turn the {cell.name} {wanted[number]}" if turned else f"put the {cell.name} in the slot"
                return replace(self._place(world, number, wanted[number], placed), subtask=subtask)
        return self._turn_dial(world, f"try the dial with {wanted[0]} {wanted[1]}")

    def _place(self, world: World, number: int, orientation: Orientation, placed: bool) -> ExpertAction:
        """Bring a cell to its bay so that it lies the way it should."""
        cell = self.cells[number]
        goal = self._bay(number)
        beside = np.hypot(*(world.position(Dial.body) - world.tool)[:2]) < 0.06
        if beside and world.tool[2] - world.arm.tip < FIN_TOP + 0.005:
            return leave(world, "", "tool")  # an open gripper would get caught at the fin
        if world.arm.holds(world, cell.body):
            return put(world, cell, goal, Slot.name, turn=_misalignment(world, heading_of(orientation)))
        if placed:
            return leave(world, "", height=goal[2] + 0.065)
        return pick(world, cell, turn=_misalignment(world, world.heading(cell.body)))

    def _turn_dial(self, world: World, subtask: str) -> ExpertAction:
        """Come down behind the fin and push it to the front, where the camera sees it before the tool.

        This is also the direction in which closed fingers do not give way.
        """
        angle, tool, hinge = world.joint_position(Dial.joint), world.tool, world.position(Dial.body)
        if self.unlocked and angle > TURNED + 0.1:
            return leave(world, subtask, "tool")
        turn = world.arm.misalignment(world, 0.0, math.pi)
        height = world.arm.tip + DIAL_HEIGHT + 0.008
        half_width = world.arm.half_width
        start = np.array([hinge[0] - _LEVER, hinge[1] + FIN_HALF + half_width + 0.014, height])
        away = start - tool
        # The corner of the tool that is nearest to the hinge meets the turned fin first.
        fin = hinge[1] - (hinge[0] - tool[0] - half_width) * math.tan(angle) + FIN_HALF / math.cos(angle)
        gap = tool[1] - half_width - fin
        low = 1.0 - ramp(abs(away[2]), 0.008, 0.016)
        if low > 0.0 and abs(away[0]) < 0.014 and -0.012 < gap < 0.06:
            return ExpertAction(np.array([away[0], -0.015 * low, away[2]]), "tool", subtask, turn)
        return ExpertAction(come_down(world, start, slack=0.04 * abs(turn)), "tool", subtask, turn)

    def _bay(self, number: int) -> np.ndarray:
        """Where the middle of the left (0) or right (1) cell belongs, (3,) metres."""
        return np.array([self.slot.x + (-BAY_X, BAY_X)[number], self.slot.y, CELL_HALF_WIDTH + 0.002])

    def _orientation(self, world: World, number: int) -> Orientation | None:
        """How a cell lies in its bay; None when it does not lie there, or askew."""
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
    """How far (radians) the gripper has to turn to hold a cell of this heading by its short side."""
    return world.arm.misalignment(world, heading - math.pi / 2, math.pi)
