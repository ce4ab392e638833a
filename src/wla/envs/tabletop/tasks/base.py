"""What a task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np

from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.instructions import Phrasings
from wla.envs.tabletop.objects import TableObject
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.world import World


class Task(ABC):
    """One episode of a task: what lies where, what is wanted, and how an expert would go on.

    step_limit: control steps. clutter: where things of no use may lie without being in the way. embodiments: the arms
    that can do it. start_height: of the tool, at least (metres), so that it starts above all that stands there.
    """

    name: ClassVar[str]
    step_limit: ClassVar[int]
    phrasings: ClassVar[Phrasings]
    clutter: ClassVar[PlacementRegion]
    embodiments: ClassVar[tuple[str, ...]] = ("gantry", "scara")
    start_height: ClassVar[float] = 0.08

    @classmethod
    @abstractmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """A random episode."""

    @property
    @abstractmethod
    def objects(self) -> tuple[TableObject, ...]:
        """Everything on the table but clutter."""

    @property
    def template_values(self) -> Mapping[str, str]:
        """The fields of the phrasings."""
        return {}

    def update(self, world: World) -> None:  # noqa: B027 - most tasks need no memory
        """Called once the scene is set and after every control step, before `success` and `failed` are asked.

        A task whose goal depends on what happened before, and not only on where things are, takes note of it here.
        """

    @abstractmethod
    def success(self, world: World) -> bool:
        """Whether the goal is reached now."""

    def failed(self, world: World) -> bool:
        """Whether the goal is out of reach for good."""
        return False

    @abstractmethod
    def expert_action(self, world: World) -> ExpertAction:
        """What an expert does now: it follows from the present scene and, in tasks that watch, from what they saw."""
