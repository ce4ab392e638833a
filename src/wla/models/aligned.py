"""Implicit world modelling by alignment (after FLARE, arXiv 2505.15659): no image is generated.

The states of the meta-queries have to tell the features that the backbone sees in the later frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wla.batch import Batch, TargetRows
from wla.models.action_expert_policy import ActionExpertPolicy
from wla.models.backbone_policy import Reading
from wla.models.experts.action_blocks import ExpertBlock
from wla.models.model import Target
from wla.models.variant_configs import AlignedConfig


class FeaturePredictor(nn.Module):
    """States of the meta-queries -> features of each patch of an image, by tokens of the patches that attend to them.

    Without a network of its own between the two, the states themselves would have to be features.
    """

    def __init__(self, patches: int, width: int, heads: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(patches, width))
        self.block = ExpertBlock(width, heads, width)
        self.out = nn.Linear(width, width)

    def forward(self, states: Float[Tensor, "B Q D"]) -> Float[Tensor, "B P D"]:
        tokens = self.positions.to(states.dtype).expand(len(states), -1, -1)
        return self.out(self.block(tokens, self.block.condition(states)))


class Aligned(ActionExpertPolicy):
    """The model of `plain_vla`, with a loss that aligns what the queries tell with the later frame's features."""

    config: AlignedConfig
    loss_targets: ClassVar[Mapping[str, Target]] = {"action": "actions", "alignment": "subgoal", "language": "text"}
    parts: ClassVar[Mapping[str, str]] = {
        "backbone": "backbone.",
        "Action Expert": "action_expert.",
        "feature predictor": "predictor.",
    }
    training_parts: ClassVar[tuple[str, ...]] = ("predictor.",)

    def __init__(self, config: AlignedConfig) -> None:
        super().__init__(config)
        patches = config.backbone.image_tokens[config.backbone.primary]
        self.predictor = FeaturePredictor(patches, self.backbone.width, config.predictor_heads)

    def query_losses(
        self, batch: Batch, rows: TargetRows, reading: Reading, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms `action` and `alignment`."""
        losses = super().query_losses(batch, rows, reading, generator)
        chosen = rows.subgoal
        if batch.subgoal is None or len(chosen) == 0:
            return losses
        # Nothing is learned through the target: the shortest way to agree would be features that are all the same.
        with torch.no_grad():
            target = self.backbone.image_features(batch.subgoal[chosen])
        found = self.predictor(reading.query_hidden[-1][chosen])
        similarity = nn.functional.cosine_similarity(found.float(), target.float(), dim=-1)
        return losses | {"alignment": (1 - similarity).mean()}
