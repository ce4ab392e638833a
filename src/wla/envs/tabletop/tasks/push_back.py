"""Push a block along the table to the back. A video task: training uses none of its actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import Area, Block, TableObject, Zone
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.pushing import in_lanes, is_in, push_into
from wla.envs.tabletop.world import World

_BACK: Area = (0.0, 0.095, 0.19, 0.05)


@dataclass(frozen=True)
class PushBack(Task):
    """Blocks and the zones of `push`; `blocks[0]` is to be pushed to the back, which has no marking."""

    blocks: tuple[Block, ...]

    name: ClassVar[str] = "push_back"
    step_limit: ClassVar[int] = 80
    clutter: ClassVar[PlacementRegion] = PlacementRegion(radius=0.03, x=0.2, y=0.01, centre=(0.0, -0.16))
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "push the {colour} block back",
            "push the {colour} block to the back",
            "push the {colour} block to the back of the table",
            "move the {colour} block back",
            "slide the {colour} block back",
            "slide the {colour} block to the back of the table",
            "the {colour} block goes to the back",
            "bring the {colour} block to the back",
            "please push the {colour} block back",
            "push the {colour} block along the table to the back",
        ),
        test=(
            "slide the {colour} block to the back",
            "please move the {colour} block back",
            "push the {colour} block back along the table",
            "bring the {colour} block to the back of the table",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        return cls(in_lanes(rng, 1, (-0.07, 0.0)))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (Zone("left"), Zone("right"), *self.blocks)

    @property
    def template_values(self) -> Mapping[str, str]:
        return {"colour": self.blocks[0].colour}

    def success(self, world: World) -> bool:
        return is_in(world, self.blocks[0], _BACK, 1)

    def expert_action(self, world: World) -> ExpertAction:
        block = self.blocks[0]
        return push_into(world, block, _BACK, 1, max_speed=0.013, subtask=f"push the {block.name} back")
