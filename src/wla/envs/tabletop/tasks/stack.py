"""Stack one block on a second one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import BLOCK_HALF, Block, TableObject
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.skills import above, pick_and_put
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import CLUTTER, random_blocks, rests_on
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class Stack(Task):
    """Blocks; `blocks[0]` is to be stacked on `blocks[1]`."""

    blocks: tuple[Block, ...]

    name: ClassVar[str] = "stack"
    step_limit: ClassVar[int] = 80
    clutter: ClassVar[PlacementRegion] = CLUTTER
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "stack the {a} block on the {b} block",
            "put the {a} block on the {b} block",
            "place the {a} block on top of the {b} block",
            "put the {a} block on top of the {b} one",
            "stack the {a} block on top of the {b} block",
            "pick up the {a} block and put it on the {b} block",
            "take the {a} block and stack it on the {b} block",
            "pick the {a} block and place it on the {b} one",
            "the {a} block goes on top of the {b} block",
            "move the {a} block onto the {b} block",
            "please stack the {a} block onto the {b} one",
        ),
        test=(
            "place the {a} block onto the {b} block",
            "pick up the {a} block and stack it on top of the {b} block",
            "please put the {a} block on top of the {b} block",
            "take the {a} block and move it onto the {b} one",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        blocks, _ = random_blocks(rng, int(rng.integers(2, 5)))
        return cls(blocks)

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return self.blocks

    @property
    def template_values(self) -> Mapping[str, str]:
        return {"a": self.blocks[0].colour, "b": self.blocks[1].colour}

    def success(self, world: World) -> bool:
        return self._stacked(world) and not world.touches_tool(self.blocks[0].body)

    def expert_action(self, world: World) -> ExpertAction:
        upper, lower = self.blocks[:2]
        goal = above(world.position(lower.body), 2 * BLOCK_HALF + 0.003)
        done = self._stacked(world) and not world.arm.holds(world, upper.body)
        return pick_and_put(world, upper, goal, lower.name, done=done)

    def _stacked(self, world: World) -> bool:
        upper, lower = self.blocks[:2]
        return rests_on(world, upper, above(world.position(lower.body), BLOCK_HALF), 0.022)
