"""What a task is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, Self

import numpy as np

from wla.envs.tabletop.arm import Advice
from wla.envs.tabletop.instructions import Phrasings
from wla.envs.tabletop.parts import Part
from wla.envs.tabletop.scatter import Spot
from wla.envs.tabletop.world import World


class Task(Protocol):
    """One episode of a task: what lies where, what is wanted, and how an expert would go on.

    step_limit: control steps. clutter: where things of no use may lie without being in the way.
    """

    name: ClassVar[str]
    step_limit: ClassVar[int]
    phrasings: ClassVar[Phrasings]
    clutter: ClassVar[Spot]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """A random episode."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]: ...

    @property
    def words(self) -> Mapping[str, str]:
        """The fields of the phrasings."""
        ...

    def success(self, world: World) -> bool:
        """Whether the goal is reached now."""
        ...

    def failed(self, world: World) -> bool:
        """Whether the goal is out of reach for good."""
        ...

    def advise(self, world: World) -> Advice:
        """What an expert does now."""
        ...
