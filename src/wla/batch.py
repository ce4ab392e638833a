"""Training batches: the tensors that `data` makes and `models` read. Separate, so that `wla.types` needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Int64, UInt8
from torch import Tensor

from wla.types import IGNORE_INDEX


@dataclass(frozen=True)
class TargetRows:
    """Where a batch has targets: index tensors whose lengths the host knows, as it made them from masks of its own.

    text: positions with a label in the flattened (B, T). actions, subgoal: samples.
    """

    text: Int64[Tensor, " N_text"]
    actions: Int64[Tensor, " N_actions"]
    subgoal: Int64[Tensor, " N_subgoal"]


@dataclass(frozen=True)
class Latents:
    """Scaled latents of the primary camera's images, read from a cache instead of computed: now, and of the subgoal."""

    current: Float16[Tensor, "B C h w"]
    subgoal: Float16[Tensor, "B C h w"]


@dataclass
class Batch:
    """One training batch, the only thing that `data` and `models` share. Masks are True where a value counts.

    tokens are left-padded: instruction, image placeholders, state, subtask text, meta-queries. labels[b, t] is the
    token that should follow position t, IGNORE_INDEX where no text is learned. images: by the string form of their
    `wla.types.ImageKey`. Samples without actions have action_mask False everywhere; without subtasks, labels
    IGNORE_INDEX everywhere; without a later frame, subgoal_mask False. action_dims: how many of the A dimensions are
    those of the sample's robot; the others are padding, 0 (None: all are the robot's). latents: None where the model
    computes them. ids: dataset, episode and frame of each sample. rows: where it has targets, as the host found out
    before it gave the batch to a device.
    """

    tokens: Int64[Tensor, "B T"]
    attention_mask: Bool[Tensor, "B T"]
    labels: Int64[Tensor, "B T"]
    images: dict[str, UInt8[Tensor, "B _ _ 3"]]
    state: Float32[Tensor, "B S"]
    actions: Float32[Tensor, "B n A"]
    action_mask: Bool[Tensor, "B n A"]
    subgoal: UInt8[Tensor, "B _ _ 3"] | None
    subgoal_mask: Bool[Tensor, " B"]
    action_dims: Int64[Tensor, " B"] | None = None
    latents: Latents | None = None
    ids: list[str] = field(default_factory=list)
    rows: TargetRows | None = None

    def target_rows(self) -> TargetRows:
        """Where it has targets; a batch on a device is waited for unless its `rows` are known."""
        return self.rows or TargetRows(
            text=(self.labels.flatten() != IGNORE_INDEX).nonzero()[:, 0],
            actions=self.action_mask.any(dim=(1, 2)).nonzero()[:, 0],
            subgoal=self.subgoal_mask.nonzero()[:, 0],
        )


def left_pad(rows: Sequence[Sequence[int]], value: int) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Rows of different lengths as one tensor, padded on the left with `value`, and True where it is not padding."""
    longest = max(map(len, rows))
    tokens, mask = np.full((len(rows), longest), value), np.zeros((len(rows), longest), dtype=bool)
    for index, row in enumerate(rows):
        tokens[index, longest - len(row) :] = row
        mask[index, longest - len(row) :] = True
    return torch.from_numpy(tokens), torch.from_numpy(mask)
