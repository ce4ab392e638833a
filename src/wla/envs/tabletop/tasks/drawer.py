"""Open the drawer by hooking its handle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import DRAWER_GAP, DRAWER_TRAVEL, Block, Drawer, TableObject
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.skills import come_down, leave
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import CLUTTER, random_blocks
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class OpenDrawer(Task):
    """Closed drawer, with irrelevant blocks beside it."""

    drawer: Drawer
    blocks: tuple[Block, ...]

    name: ClassVar[str] = "drawer"
    step_limit: ClassVar[int] = 60
    clutter: ClassVar[PlacementRegion] = CLUTTER
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "open the drawer",
            "pull the drawer open",
            "pull open the drawer",
            "pull the drawer handle",
            "open the drawer by its handle",
            "pull the handle of the drawer",
            "please open the drawer",
            "slide the drawer open",
            "go to the handle and pull the drawer open",
            "hook the handle and open the drawer",
            "hook the drawer handle and pull it",
        ),
        test=(
            "please pull the drawer open by its handle",
            "slide open the drawer",
            "go to the drawer and open it by its handle",
            "hook the handle of the drawer and pull it open",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        region = PlacementRegion(Drawer.radius, x=0.08, y=0.02, centre=(0.0, 0.045))
        blocks, (handle,) = random_blocks(rng, int(rng.integers(0, 3)), [region])
        return cls(Drawer(*handle), blocks)

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (self.drawer, *self.blocks)

    def success(self, world: World) -> bool:
        return world.joint_position(Drawer.joint) > 0.75 * DRAWER_TRAVEL

    def expert_action(self, world: World) -> ExpertAction:
        """Returns an action that moves down between handle and drawer, then pulls it almost fully open."""
        tool, handle = world.tool, world.position(Drawer.body)
        pull, reach = f"pull the {Drawer.name}", f"reach the {Drawer.name}"
        if world.joint_position(Drawer.joint) > 0.9 * DRAWER_TRAVEL:
            return leave(world, pull, "tool")
        turn = world.arm.misalignment(world, 0.0)
        gap = np.array([handle[0], handle[1] + 0.005 + DRAWER_GAP / 2, world.arm.tip + 0.016])
        offset = gap - tool
        if abs(offset[0]) < 0.03 and abs(offset[1]) < DRAWER_GAP / 2 and abs(offset[2]) < 0.012:
            return ExpertAction(np.array([offset[0], -0.022, offset[2]]), "tool", pull, turn)
        return ExpertAction(come_down(world, gap, slack=0.04 * abs(turn)), "tool", reach, turn)
