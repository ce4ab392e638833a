"""What is where in each patch of an image: the dense lesson that teaches a vision stem to see.

Answering questions alone left small blocks unseen for thousands of steps: the answer depends on one patch out of
dozens, and nothing says which. Here every patch is told what lies in it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wla.training.grounding.scenes import Scenes

SCALE = 0.1
"""Metres that count as one unit of error."""
POSITIVE_WEIGHT = 10.0
"""Nearly all patches hold nothing; what does lie in one must count more."""


class PatchTargets:
    """For a camera with S x S patches: present bool (N, S*S, K) and places float32 (N, S*S, K, 3) in its frame.

    K: the kinds of things. What a card shows is part of its kind: asked in words alone, it was not read.
    """

    def __init__(self, scenes: Scenes, camera: str, side: int) -> None:
        index = {kind: k for k, kind in enumerate(scenes.classes)}
        shape = (len(scenes), side * side, len(index))
        self.present = np.zeros(shape, bool)
        self.positions = np.zeros((*shape, 3), np.float32)
        for row, things in enumerate(scenes.objects):
            for thing in things:
                u, v, *place = thing.views[camera]
                if 0 <= u < 1 and 0 <= v < 1:
                    where = (row, int(v * side) * side + int(u * side), index[thing.class_name])
                    self.present[where] = True
                    self.positions[where] = np.array(place) / SCALE


class PatchHead(nn.Module):
    """A linear layer that tells from a patch's token which things lie in it and where."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.out = nn.Linear(width, 4 * num_classes)

    def loss(
        self,
        tokens: Float[Tensor, "B P D"],
        present: Bool[Tensor, "B P K"],
        positions: Float[Tensor, "B P K 3"],
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss, and the mean error of the places in metres."""
        told = self.out(tokens).float().unflatten(2, (self.num_classes, 4))
        weight = torch.full((self.num_classes,), POSITIVE_WEIGHT, device=told.device)
        what = nn.functional.binary_cross_entropy_with_logits(told[..., 0], present.float(), pos_weight=weight)
        errors = (told[..., 1:][present] - positions[present]).abs()
        where = errors.sum() / max(1, errors.numel())  # few scenes may show a camera nothing
        return 10 * what + where, SCALE * where.detach()
