"""Cover three blocks from left to right, then uncover them by colour, which needs memory of each block's position."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import Block, TableObject
from wla.envs.tabletop.objects_lids import LID_KNOB, Lid
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.skills import is_released, pick_and_put
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.world import World

ORDER = ("red", "green", "blue")
"""Colours in the order in which the blocks must be uncovered."""
SIDE_TEXTS = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
_ROW = {"left": -0.12, "middle": 0.0, "right": 0.12}
_BLOCK_Y, _LID_Y, _JITTER, _TILT = -0.045, 0.08, 0.012, 0.1
_ROOM = 0.085
"""Smallest distance between the centres of a block and of a lid that is put down behind it, metres."""
_ABOVE_RADIUS = 0.03
"""Horizontal distance of their centres below which a lid is above a block, metres."""
_TRAVEL = 0.14
"""Height of a carried lid's knob, metres: its walls clear the blocks, and an empty gripper clears the knobs."""


@dataclass
class CoverBlocks(Task):
    """Three blocks in a row, each with a lid behind it. Any step out of order fails the episode.

    Attributes:
        blocks: from left to right.
        lids: from left to right.
        num_completed: number of completed steps of six: three blocks covered, then three uncovered with the lid put
            down.
        covered: colours of the blocks that are under a lid now.
        out_of_order: whether a step was executed out of order.
    """

    blocks: tuple[Block, ...]
    lids: tuple[Lid, ...]
    num_completed: int = field(init=False, default=0)
    covered: set[str] = field(init=False, default_factory=set)
    out_of_order: bool = field(init=False, default=False)

    name: ClassVar[str] = "cover_blocks"
    step_limit: ClassVar[int] = 260
    clutter: ClassVar[PlacementRegion] = PlacementRegion(radius=0.03, x=0.2, y=0.01, centre=(0.0, 0.19))
    start_height: ClassVar[float] = 0.12
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "cover the blocks from left to right, then uncover red, green and blue",
            "cover the blocks from left to right and then uncover the red, the green and the blue block",
            "put a lid on each block from left to right, then uncover red, green and blue in this order",
            "first cover all blocks from left to right, then uncover them in the order red, green, blue",
            "cover all three blocks from left to right, then lift the lids off red, green and blue",
            "hide the blocks from left to right, then uncover them in the order red, green, blue",
            "hide the three blocks under the lids from left to right and then uncover red, green and blue",
            "put the lids on the blocks from left to right, then take them off red, green and blue in this order",
            "please cover each block from left to right, and after this uncover red, then green, then blue",
            "put the lids over the three blocks from left to right, then uncover first red, then green, then blue",
        ),
        test=(
            "first hide all three blocks from left to right, then uncover red, then green, then blue",
            "put the lids over the blocks from left to right, then lift them off red, green and blue in this order",
            "please cover all blocks from left to right and then take the lids off red, green and blue",
            "hide each block under a lid from left to right, and after this uncover the red, the green, the blue block",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        def jitter() -> np.ndarray:
            return rng.uniform(-1.0, 1.0, 3) * (_JITTER, _JITTER, _TILT)

        blocks, lids = [], []
        for colour, (side, x) in zip(rng.permutation(ORDER), _ROW.items(), strict=True):
            dx, dy, yaw = jitter()
            lid_dx, lid_dy, lid_yaw = jitter()
            blocks.append(Block(str(colour), float(x + dx), float(_BLOCK_Y + dy), float(yaw)))
            lids.append(Lid(side, float(x + lid_dx), float(_LID_Y + lid_dy), float(lid_yaw)))
        return cls(tuple(blocks), tuple(lids))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (*self.blocks, *self.lids)

    def update(self, world: World) -> None:
        """Records which blocks have been covered and uncovered, and whether this was in order."""
        covered = {block.colour for block in self.blocks if self._is_covered(world, block)}
        changed = covered ^ self.covered
        if self.num_completed < len(self.blocks):
            due = self.blocks[self.num_completed].colour
            # No block may be uncovered before all three are covered.
            self.out_of_order |= bool(changed - {due} or self.covered - covered)
            self.num_completed += due in covered and not self.out_of_order
        elif self.num_completed < 2 * len(self.blocks):
            due = ORDER[self.num_completed - len(self.blocks)]
            self.out_of_order |= bool(changed - {due})
            put_down = due not in covered and all(_stands(world, lid) and is_released(world, lid) for lid in self.lids)
            self.num_completed += put_down and not self.out_of_order
        else:
            self.out_of_order |= bool(changed)
        self.covered = covered

    def success(self, world: World) -> bool:
        return self.num_completed == 2 * len(self.blocks) and not self.out_of_order

    def failed(self, world: World) -> bool:
        return self.out_of_order

    def expert_action(self, world: World) -> ExpertAction:
        """Returns an action that moves the next lid over the block in front of it, or back behind it."""
        count = len(self.blocks)
        covering = self.num_completed < count
        due = (
            self.blocks[self.num_completed].colour
            if covering
            else ORDER[min(self.num_completed, 2 * count - 1) - count]
        )
        number = [block.colour for block in self.blocks].index(due)
        block, lid = self.blocks[number], self.lids[number]
        x, y, _ = world.position(block.body)
        # A lid must not be put down on a block that was dragged along.
        behind = (lid.x, min(max(lid.y, y + _ROOM), _LID_Y + 0.07))
        goal = np.array([*((x, y) if covering else behind), LID_KNOB + 0.003])
        at_goal = _stands(world, lid) and _is_above(world, lid, block, _ABOVE_RADIUS) == covering
        done = at_goal and not world.arm.holds(world, lid.body)
        expert_action = pick_and_put(world, lid, goal, block.name, done=done, travel=_TRAVEL, turn=0.0)
        verb = "cover" if covering else "uncover"
        return replace(expert_action, subtask=f"{verb} the {block.name} {SIDE_TEXTS[lid.side]}")

    def _is_covered(self, world: World, block: Block) -> bool:
        """Returns whether a lid covers the block: from its release over it until it is clearly lifted or moved away."""
        if block.colour in self.covered:
            return any(
                _is_above(world, lid, block, 0.045) and bool(world.position(lid.body)[2] < LID_KNOB + 0.03)
                for lid in self.lids
            )
        return any(
            _is_above(world, lid, block, _ABOVE_RADIUS) and _stands(world, lid) and is_released(world, lid)
            for lid in self.lids
        )


def _stands(world: World, lid: Lid) -> bool:
    """Returns whether the lid stands upright on the table, held or not."""
    return bool(abs(world.position(lid.body)[2] - LID_KNOB) < 0.005) and world.tilt(lid.body) < 0.08


def _is_above(world: World, lid: Lid, block: Block, reach: float) -> bool:
    """Returns whether the horizontal distance between lid and block is below `reach`, metres, at any height."""
    offset = world.position(lid.body) - world.position(block.body)
    return bool(np.hypot(offset[0], offset[1]) < reach)
