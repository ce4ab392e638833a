"""The one place where actions pass between the robot's units and the model's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from wla.data.action_representation import ActionRepresentation
from wla.data.normalize import Normalizer


@dataclass(frozen=True)
class ActionTransform:
    """Represents and normalises chunks of actions for the model, and inverts that."""

    representation: ActionRepresentation
    normalizer: Normalizer

    def encode(
        self, actions: Float[np.ndarray, "*B n A"], state: Float[np.ndarray, "*B S"]
    ) -> Float32[np.ndarray, "*B n D"]:
        """Chunks in the robot's units, predicted at these states (in the robot's units too) -> the model's."""
        return self.normalizer.normalize(self.representation.encode(actions, state))

    def decode(
        self, actions: Float[np.ndarray, "*B n D"], state: Float[np.ndarray, "*B S"]
    ) -> Float32[np.ndarray, "*B n A"]:
        """The inverse of `encode`."""
        return self.representation.decode(self.normalizer.denormalize(actions), state).astype(np.float32)
