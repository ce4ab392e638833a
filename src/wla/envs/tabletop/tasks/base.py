"""Base class of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np

from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import TableObject
from wla.envs.tabletop.placement import PlacementRegion
from wla.envs.tabletop.world import World


class Task(ABC):
    """One episode of a task: initial positions of its objects, goal, and scripted expert.

    Attributes:
        name: of the task.
        step_limit: control steps after which an episode is truncated.
        phrasings: instruction templates.
        clutter: region of distractors, where they are not in the way.
        embodiments: arms that can solve the task.
        start_height: smallest initial height of the tool, metres, above all objects of the task.
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
        """Samples an episode."""

    @property
    @abstractmethod
    def objects(self) -> tuple[TableObject, ...]:
        """All objects on the table except distractors."""

    @property
    def template_values(self) -> Mapping[str, str]:
        """Values of the fields of the instruction templates."""
        return {}

    def update(self, world: World) -> None:  # noqa: B027 - most tasks need no memory
        """Updates the progress of the episode: after the reset and after every control step, before `success`.

        A task whose goal depends on earlier events, not only on current positions, records them here.
        """

    @abstractmethod
    def success(self, world: World) -> bool:
        """Returns whether the goal is reached in the current scene."""

    def failed(self, world: World) -> bool:
        """Returns whether the goal can no longer be reached."""
        return False

    @abstractmethod
    def expert_action(self, world: World) -> ExpertAction:
        """Returns the expert's action for the current scene and the progress recorded by `update`."""
