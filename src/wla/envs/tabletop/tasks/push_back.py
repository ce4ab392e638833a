"""Push a block along the table into the zone at the back. A video task: nothing about it is learned from actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.tabletop.arm import Advice
from wla.envs.tabletop.instructions import Phrasings
from wla.envs.tabletop.parts import Block, Part, Zone
from wla.envs.tabletop.scatter import Spot
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.pushing import in_lanes, is_in, push_into
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class PushBack(Task):
    """`blocks[0]` is to go to the zone at the back."""

    blocks: tuple[Block, ...]

    name: ClassVar[str] = "push_back"
    step_limit: ClassVar[int] = 80
    clutter: ClassVar[Spot] = Spot(radius=0.03, x=0.2, y=0.01, centre=(0.0, -0.16))
    phrasings: ClassVar[Phrasings] = Phrasings(
        seen=(
            "push the {colour} block to the back zone",
            "push the {colour} block into the back zone",
            "push the {colour} block to the back",
            "move the {colour} block to the back zone",
            "slide the {colour} block to the back zone",
            "slide the {colour} block into the zone at the back",
            "the {colour} block goes to the back zone",
            "bring the {colour} block to the back zone",
            "please push the {colour} block to the zone at the back",
            "push the {colour} block along the table to the back zone",
        ),
        unseen=(
            "slide the {colour} block to the back",
            "please move the {colour} block into the back zone",
            "push the {colour} block along the table into the back zone",
            "bring the {colour} block to the zone at the back",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        return cls(in_lanes(rng, 1, (-0.07, 0.0)))

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Zone("back"), *self.blocks)

    @property
    def words(self) -> Mapping[str, str]:
        return {"colour": self.blocks[0].colour}

    def success(self, world: World) -> bool:
        return is_in(world, self.blocks[0], Zone("back"), 1)

    def advise(self, world: World) -> Advice:
        return push_into(world, self.blocks[0], Zone("back"), 1, pace=0.013)
