"""Press a spring button and keep it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import BUTTON_TOP, BUTTON_TRAVEL, Block, Button, TableObject
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.skills import come_down
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import CLUTTER, random_blocks
from wla.envs.tabletop.world import World


@dataclass(frozen=True)
class Press(Task):
    """Button among irrelevant blocks."""

    button: Button
    blocks: tuple[Block, ...]

    name: ClassVar[str] = "press"
    step_limit: ClassVar[int] = 50
    clutter: ClassVar[PlacementRegion] = CLUTTER
    phrasings: ClassVar[Phrasings] = Phrasings(
        train=(
            "press the button",
            "push the button",
            "push the button down",
            "press down on the button",
            "press the magenta button",
            "go to the button and press it",
            "move to the button and push it down",
            "please press the button",
            "hold the button down",
            "press the button and hold it",
        ),
        test=(
            "press the button down",
            "please push the magenta button",
            "move to the magenta button and press it",
            "push the button and hold it down",
        ),
    )

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        blocks, (button,) = random_blocks(
            rng, int(rng.integers(0, 3)), [PlacementRegion(Button.radius, x=0.15, y=0.11)]
        )
        return cls(Button(*button), blocks)

    @property
    def objects(self) -> tuple[TableObject, ...]:
        return (self.button, *self.blocks)

    def success(self, world: World) -> bool:
        return world.joint_position(Button.joint) < -0.6 * BUTTON_TRAVEL

    def expert_action(self, world: World) -> ExpertAction:
        centre = world.position(Button.body)
        pressed = BUTTON_TOP - BUTTON_TRAVEL + world.arm.tip
        move = come_down(world, np.array([centre[0], centre[1], pressed]))
        above = np.hypot(*(centre - world.tool)[:2]) < 0.02
        return ExpertAction(move, "tool", "press the button" if above else "reach the button")
