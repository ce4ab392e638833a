"""Put a block on the plate. A video task: training uses none of its actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import Block, Bowl, Plate, TableObject
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.skills import pick_and_put
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import CLUTTER, blocks_and_dishes, on_plate, plate_goal
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class PlaceOnPlate(Task):
    """Blocks, a plate, and a bowl, the goal of the similar task `place`; `blocks[0]` is the target block."""

    blocks: tuple[Block, ...]
    bowl: Bowl
    plate: Plate

    name: ClassVar[str] = "place_on_plate"
    step_limit: ClassVar[int] = 80
    clutter: ClassVar[PlacementRegion] = CLUTTER
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "put the {colour} block on the plate",
            "place the {colour} block on the plate",
            "move the {colour} block onto the plate",
            "pick up the {colour} block and put it on the plate",
            "pick the {colour} block and place it onto the plate",
            "take the {colour} block and put it on the plate",
            "the {colour} block goes onto the plate",
            "grasp the {colour} block and move it to the plate",
            "bring the {colour} block to the black plate",
            "take the {colour} block to the plate and release it",
            "please put the {colour} block onto the black plate",
        ),
        test=(
            "please place the {colour} block on the black plate",
            "grasp the {colour} block and place it on the plate",
            "pick up the {colour} block and bring it to the plate",
            "take the {colour} block and put it onto the black plate",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        return cls(*blocks_and_dishes(rng))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (*self.blocks, self.bowl, self.plate)

    @property
    def template_values(self) -> Mapping[str, str]:
        return {"colour": self.blocks[0].colour}

    def success(self, world: World) -> bool:
        return on_plate(world, self.blocks[0]) and not world.touches_tool(self.blocks[0].body)

    def expert_action(self, world: World) -> ExpertAction:
        block = self.blocks[0]
        done = on_plate(world, block) and not world.arm.holds(world, block.body)
        return pick_and_put(world, block, plate_goal(world), Plate.name, done=done)
