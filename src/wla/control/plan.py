"""Chunks by control step: which action is due at which control step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from wla.specs import RobotSpec
from wla.types import ActionChunk

ENSEMBLE_DECAY = 0.01
"""Of the weights of older chunks: the i-th oldest has weight exp(-0.01 i) (ACT, Zhao et al. 2023, arXiv 2304.13705)."""


@dataclass(frozen=True)
class Planned:
    """A chunk whose first action is meant for control step `start`."""

    chunk: ActionChunk
    start: int

    def at(self, step: int) -> Float32[np.ndarray, " A"] | None:
        """The action for a control step; None where the chunk has none."""
        index = step - self.start
        return self.chunk.actions[index] if 0 <= index < len(self.chunk.actions) else None

    def from_step(self, step: int) -> Float32[np.ndarray, "p A"]:
        """The actions that remain from a control step on."""
        return self.chunk.actions[max(0, step - self.start) :]


def ensembled(chunks: Sequence[Planned], step: int) -> Float32[np.ndarray, " A"] | None:
    """The weighted mean of what all chunks, oldest first, have for a control step; None where none has anything."""
    actions = [action for action in (planned.at(step) for planned in chunks) if action is not None]
    if not actions:
        return None
    weights = np.exp(-ENSEMBLE_DECAY * np.arange(len(actions)))
    return np.average(actions, axis=0, weights=weights).astype(np.float32)


def require_usable(chunk: ActionChunk, spec: RobotSpec) -> None:
    """ValueError for a chunk that the robot cannot execute: of another shape, or with numbers that are not finite."""
    shape = chunk.actions.shape
    if len(shape) != 2 or shape[0] < 1 or shape[1] != spec.action.dim:
        raise ValueError(f"the policy's actions have shape {shape}, but the robot needs (n, {spec.action.dim}), n >= 1")
    if chunk.replan_steps is not None and chunk.replan_steps < 1:
        raise ValueError(f"the policy asks for {chunk.replan_steps} actions of its chunk; at least 1 is needed")
    if not np.isfinite(chunk.actions).all():
        raise ValueError("the policy's actions are not all finite")
