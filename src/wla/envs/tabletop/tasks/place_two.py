"""Put one block into the bowl and then a second one on the plate, in this order."""

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
from wla.envs.tabletop.tasks.common import CLUTTER, blocks_and_dishes, bowl_goal, in_bowl, on_plate, plate_goal
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class PlaceTwo(Task):
    """Two target blocks: `blocks[0]` into the bowl, then `blocks[1]` on the plate. The other order fails."""

    blocks: tuple[Block, ...]
    bowl: Bowl
    plate: Plate

    name: ClassVar[str] = "place_two"
    step_limit: ClassVar[int] = 150
    clutter: ClassVar[PlacementRegion] = CLUTTER
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "put the {a} block in the bowl, then the {b} block on the plate",
            "put the {a} block in the bowl, then put the {b} block on the plate",
            "place the {a} block in the bowl and then the {b} block on the plate",
            "first put the {a} block in the bowl, then the {b} block on the plate",
            "move the {a} block into the bowl, then move the {b} block onto the plate",
            "first the {a} block goes into the bowl, then the {b} block goes on the plate",
            "take the {a} block to the bowl and then the {b} block to the plate",
            "drop the {a} block in the bowl and then place the {b} block on the plate",
            "put the {b} block on the plate after the {a} block is in the bowl",
            "the {a} block goes in the bowl, and after this the {b} block goes onto the plate",
        ),
        test=(
            "first place the {a} block in the bowl and then put the {b} block on the plate",
            "drop the {a} block into the bowl, then take the {b} block to the plate",
            "move the {b} block onto the plate after the {a} block is in the bowl",
            "first move the {a} block into the bowl, and after this place the {b} block on the plate",
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
        return {"a": self.blocks[0].colour, "b": self.blocks[1].colour}

    def success(self, world: World) -> bool:
        return in_bowl(world, self.blocks[0]) and self._second_is_done(world)

    def failed(self, world: World) -> bool:
        return self._second_is_done(world) and not in_bowl(world, self.blocks[0])

    def expert_action(self, world: World) -> ExpertAction:
        first, second = self.blocks[:2]
        arm = world.arm
        if not in_bowl(world, first) or arm.holds(world, first.body):
            return pick_and_put(world, first, bowl_goal(world), Bowl.name, done=False)
        done = on_plate(world, second) and not arm.holds(world, second.body)
        return pick_and_put(world, second, plate_goal(world), Plate.name, done=done)

    def _second_is_done(self, world: World) -> bool:
        return on_plate(world, self.blocks[1]) and not world.touches_tool(self.blocks[1].body)
