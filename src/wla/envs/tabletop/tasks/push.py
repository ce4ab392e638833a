"""Push a block along the table into the left or the right zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.tabletop.arm import Advice
from wla.envs.tabletop.instructions import Phrasings
from wla.envs.tabletop.look import BLOCKS
from wla.envs.tabletop.parts import BLOCK_HALF, ZONE_HALF_X, ZONE_HALF_Y, Block, Part, Zone
from wla.envs.tabletop.scatter import Spot
from wla.envs.tabletop.skills import come_down, leave, ramp
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import TILT
from wla.envs.tabletop.world import World

_LANES = (-0.072, 0.0, 0.072)
"""Blocks start in lanes (metres, along x), so that pushing one leaves the others alone."""


@dataclass(frozen=True)
class Push(Task):
    """`blocks[0]` is to go to the zone on `side`."""

    blocks: tuple[Block, ...]
    side: str

    name: ClassVar[str] = "push"
    step_limit: ClassVar[int] = 80
    clutter: ClassVar[Spot] = Spot(radius=0.03, x=0.2, y=0.01, centre=(0.0, 0.19))
    phrasings: ClassVar[Phrasings] = Phrasings(
        seen=(
            "push the {colour} block to the {side} zone",
            "push the {colour} block into the {side} zone",
            "push the {colour} block to the {side}",
            "move the {colour} block to the {side} zone",
            "slide the {colour} block to the {side} zone",
            "slide the {colour} block into the zone on the {side}",
            "the {colour} block goes to the {side} zone",
            "bring the {colour} block to the {side} zone",
            "please push the {colour} block to the zone on the {side}",
            "push the {colour} block along the table to the {side} zone",
            "bring the {colour} block into the {side} zone",
        ),
        unseen=(
            "slide the {colour} block to the {side}",
            "please move the {colour} block into the {side} zone",
            "push the {colour} block along the table into the {side} zone",
            "bring the {colour} block to the zone on the {side}",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        count = int(rng.integers(1, 4))
        lanes = rng.permutation(_LANES)[:count]
        colours = rng.permutation(list(BLOCKS))[:count]
        blocks = tuple(
            Block(
                str(colour),
                float(rng.uniform(-0.05, 0.05)),
                float(lane + rng.uniform(-0.005, 0.005)),
                float(rng.uniform(-TILT, TILT)),
            )
            for colour, lane in zip(colours, lanes, strict=True)
        )
        return cls(blocks, str(rng.choice(["left", "right"])))

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Zone("left"), Zone("right"), *self.blocks)

    @property
    def words(self) -> Mapping[str, str]:
        return {"colour": self.blocks[0].colour, "side": self.side}

    def success(self, world: World) -> bool:
        offset = world.position(self.blocks[0].body) - (Zone(self.side).x, 0.0, 0.0)
        inside = abs(offset[0]) < ZONE_HALF_X - 0.005 and abs(offset[1]) < ZONE_HALF_Y
        return bool(inside and world.is_on_table(self.blocks[0].body))

    def advise(self, world: World) -> Advice:
        """Come down behind the block, then push through its middle until it is in the middle of the zone."""
        block = self.blocks[0]
        centre, tool = world.position(block.body), world.tool
        goal = Zone(self.side).x
        turn = world.arm.misalignment(world, 0.0)
        way = float(np.sign(goal - centre[0]))
        push = f"push the {block.name} to the {self.side} zone"
        height = world.arm.tip + 0.008
        behind = (centre[0] - tool[0]) * way
        contact = BLOCK_HALF + world.arm.girth
        low = 1.0 - ramp(tool[2], height + 0.006, height + 0.015)
        # Once the tool is up, anywhere well inside the zone will do.
        if abs(goal - centre[0]) < (0.018 if low > 0.0 else 0.035):
            return leave(world, push, "tool")
        aligned = 1.0 - ramp(abs(centre[1] - tool[1]), 0.008, 0.016)
        if behind > contact - 0.006 and low * aligned > 0.0 and behind < contact + 0.06:
            step = min(0.02, abs(goal - centre[0]) + max(0.0, behind - contact))
            move = np.array([way * step * low * aligned, centre[1] - tool[1], height - tool[2]])
            return Advice(move, "tool", push, turn)
        start = np.array([centre[0] - way * (contact + 0.022), centre[1], height])
        return Advice(come_down(world, start, slack=0.04 * abs(turn)), "tool", f"reach the {block.name}", turn)
