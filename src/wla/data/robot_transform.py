"""Between a robot and the model of a policy, which may be for several robots: their widths, cameras and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from wla.data.action_transform import ActionTransform, pad_last
from wla.data.normalize import Normalizer


@dataclass(frozen=True)
class RobotTransform:
    """Maps what one robot observes and does to what a model reads and answers.

    state: of its states. actions: of its actions, padded to those of the model. state_dim: of the model. cameras: the
    model's -> the robot's; None for one that the robot lacks, whose images are black. name: of the robot in prompts; ''
    for a policy of a single one, whose prompts need none.
    """

    state: Normalizer
    actions: ActionTransform
    state_dim: int
    cameras: Mapping[str, str | None]
    name: str = ""

    def pad_state(self, state: Float32[np.ndarray, "*B S"]) -> Float32[np.ndarray, "*B P"]:
        """Normalised states, filled up with zeros to the model's dimensions."""
        return pad_last(state, self.state_dim)

    def instruction(self, text: str) -> str:
        """An instruction as it is in the prompt: after the robot's name, where the policy is for several."""
        return addressed(self.name, text) if self.name else text


def addressed(name: str, instruction: str) -> str:
    """An instruction to one of several robots, as their prompts have it."""
    return f"{name}: {instruction}".strip()
