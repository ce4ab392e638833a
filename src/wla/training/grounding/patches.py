"""Patch targets and loss: the classes and positions of the objects in each image patch, dense labels for a vision stem.

With visual question answering alone, small blocks were not detected for thousands of steps: an answer depends on one
patch out of dozens, and no label indicates which. Here every patch has its own label.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wla.training.grounding.scenes import Scenes

SCALE = 0.1
"""Metres per unit of position error."""
POSITIVE_WEIGHT = 10.0
"""Weight of positive labels: nearly all patches are empty."""


class PatchTargets:
    """Targets of N scenes for a camera with S x S patches.

    present: bool (N, S*S, K). positions: float32 (N, S*S, K, 3), in the camera's frame, in units of `SCALE`. K: number
    of object classes. The label of a card is part of its class: with questions alone it was not learned.
    """

    def __init__(self, scenes: Scenes, camera: str, side: int) -> None:
        class_index = {name: k for k, name in enumerate(scenes.classes)}
        shape = (len(scenes), side * side, len(class_index))
        self.present = np.zeros(shape, bool)
        self.positions = np.zeros((*shape, 3), np.float32)
        for row, objects in enumerate(scenes.objects):
            for scene_object in objects:
                u, v, *position = scene_object.views[camera]
                if 0 <= u < 1 and 0 <= v < 1:
                    patch = int(v * side) * side + int(u * side)
                    index = (row, patch, class_index[scene_object.class_name])
                    self.present[index] = True
                    self.positions[index] = np.array(position) / SCALE


class PatchHead(nn.Module):
    """A linear head that predicts the object classes in a patch, and their positions, from the patch's token."""

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
        """Returns the loss, and the mean absolute error of the positions in metres (0 without objects)."""
        predictions = self.out(tokens).float().unflatten(2, (self.num_classes, 4))
        weight = torch.full((self.num_classes,), POSITIVE_WEIGHT, device=predictions.device)
        class_loss = nn.functional.binary_cross_entropy_with_logits(
            predictions[..., 0], present.float(), pos_weight=weight
        )
        errors = (predictions[..., 1:][present] - positions[present]).abs()
        position_loss = errors.sum() / max(1, errors.numel())  # in a few scenes a camera may see no object
        return 10 * class_loss + position_loss, SCALE * position_loss.detach()
