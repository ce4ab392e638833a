"""Push a block along the table into the left or the right zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import ZONES, Block, TableObject, Zone
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.pushing import in_lanes, is_in, push_into
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class Push(Task):
    """Two zones and blocks; `blocks[0]` is to be pushed to the zone on `side`."""

    blocks: tuple[Block, ...]
    side: str

    name: ClassVar[str] = "push"
    step_limit: ClassVar[int] = 80
    clutter: ClassVar[PlacementRegion] = PlacementRegion(radius=0.03, x=0.2, y=0.01, centre=(0.0, 0.19))
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
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
        test=(
            "slide the {colour} block to the {side}",
            "please move the {colour} block into the {side} zone",
            "push the {colour} block along the table into the {side} zone",
            "bring the {colour} block to the zone on the {side}",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        return cls(in_lanes(rng, 0, (-0.05, 0.05)), str(rng.choice(["left", "right"])))

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (Zone("left"), Zone("right"), *self.blocks)

    @property
    def template_values(self) -> Mapping[str, str]:
        return {"colour": self.blocks[0].colour, "side": self.side}

    def success(self, world: World) -> bool:
        return is_in(world, self.blocks[0], ZONES[self.side], 0)

    def expert_action(self, world: World) -> ExpertAction:
        block = self.blocks[0]
        subtask = f"push the {block.name} to the {Zone(self.side).name}"
        return push_into(world, block, ZONES[self.side], 0, max_speed=0.02, subtask=subtask)
