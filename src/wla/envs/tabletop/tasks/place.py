"""Put one of several blocks into the bowl."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import Block, Bowl, TableObject
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.skills import pick_and_put
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import CLUTTER, bowl_goal, in_bowl, random_blocks
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class Place(Task):
    """Blocks and a bowl; `blocks[0]` is the target block."""

    blocks: tuple[Block, ...]
    bowl: Bowl

    name: ClassVar[str] = "place"
    step_limit: ClassVar[int] = 80
    clutter: ClassVar[PlacementRegion] = CLUTTER
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "put the {colour} block in the bowl",
            "place the {colour} block in the bowl",
            "move the {colour} block into the bowl",
            "drop the {colour} block into the bowl",
            "pick up the {colour} block and put it in the bowl",
            "pick the {colour} block and place it into the bowl",
            "take the {colour} block and drop it in the bowl",
            "the {colour} block goes into the bowl",
            "grasp the {colour} block and move it to the bowl",
            "bring the {colour} block to the white bowl",
            "take the {colour} block to the bowl and release it",
            "please put the {colour} block into the white bowl",
        ),
        test=(
            "please drop the {colour} block in the white bowl",
            "grasp the {colour} block and place it in the bowl",
            "pick up the {colour} block and bring it to the bowl",
            "take the {colour} block and put it into the white bowl",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        blocks, (bowl,) = random_blocks(rng, int(rng.integers(2, 5)), [PlacementRegion(Bowl.radius, x=0.14, y=0.09)])
        return cls(blocks, Bowl(*bowl))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (*self.blocks, self.bowl)

    @property
    def template_values(self) -> Mapping[str, str]:
        return {"colour": self.blocks[0].colour}

    def success(self, world: World) -> bool:
        return in_bowl(world, self.blocks[0]) and not world.touches_tool(self.blocks[0].body)

    def expert_action(self, world: World) -> ExpertAction:
        block = self.blocks[0]
        done = in_bowl(world, block) and not world.arm.holds(world, block.body)
        return pick_and_put(world, block, bowl_goal(world), Bowl.name, done=done)
