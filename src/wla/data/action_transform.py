"""The one place where actions pass between the robot's units and the model's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from wla.data.action_representation import ActionRepresentation
from wla.data.normalize import Normalizer


@dataclass(frozen=True)
class ActionTransform:
    """Represents and normalises chunks of actions for the model, and inverts that.

    padded_dim: dimensions of the actions of a model for several robots (None: the representation's own); those beyond
    the own ones are 0.
    """

    representation: ActionRepresentation
    normalizer: Normalizer
    padded_dim: int | None = None

    @property
    def dim(self) -> int:
        """Dimensions of the model's actions."""
        return self.own_dim if self.padded_dim is None else self.padded_dim

    @property
    def own_dim(self) -> int:
        """Dimensions of the model's actions that are this robot's."""
        return self.representation.dim

    def encode(
        self, actions: Float[np.ndarray, "*B n A"], state: Float[np.ndarray, "*B S"]
    ) -> Float32[np.ndarray, "*B n D"]:
        """Chunks in the robot's units, predicted at these states (in the robot's units too) -> the model's."""
        own = self.normalizer.normalize(self.representation.encode(actions, state))
        return pad_last(own, self.dim)

    def decode(
        self, actions: Float[np.ndarray, "*B n D"], state: Float[np.ndarray, "*B S"]
    ) -> Float32[np.ndarray, "*B n A"]:
        """The inverse of `encode`."""
        own = self.normalizer.denormalize(actions[..., : self.own_dim])
        return self.representation.decode(own, state).astype(np.float32)


def pad_last(values: Float32[np.ndarray, "*B D"], dim: int) -> Float32[np.ndarray, "*B P"]:
    """The values with zeros after the last of each row, as far as `dim`."""
    missing = dim - values.shape[-1]
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)]) if missing else values
