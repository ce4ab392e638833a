"""The value model: instruction, frame, subtask and elapsed time -> the value, between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from wla.models.backbones.base import Backbone
from wla.models.configs import ValueConfig

MAX_STEPS = 1000
"""Control steps at which times are clipped."""


class ValueModel(nn.Module):
    """MLP head on a policy's frozen backbone: inputs are its state at the prompt's end and two times.

    A trained backbone overfitted the rollouts and scored others worse.
    """

    def __init__(self, config: ValueConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.backbone.requires_grad_(False)
        self.head = nn.Sequential(
            nn.Linear(self.backbone.width + 2, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.Linear(config.width, 1),
        )

    def forward(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        times: Int64[Tensor, "B 2"],
    ) -> Float[Tensor, " B"]:
        """Log-odds of the value, (B,).

        Args:
            tokens: token ids (B, T), padded on the left.
            attention_mask: (B, T), False for padding.
            images: image -> uint8 pixels (B, H, W, 3).
            times: control steps (B, 2) since the episode and since the current subtask began.
        """
        last = self.backbone.last_state(tokens, attention_mask, images)
        state = nn.functional.rms_norm(last, last.shape[-1:])
        return self.head(torch.cat([state, _normalize_steps(times).to(state)], dim=-1)).float()[:, 0]

    def with_backbone(self, backbone: Backbone) -> ValueModel:
        """A model with the same head on a backbone of the same answers."""
        model = copy(self)
        model._modules = self._modules | {"backbone": backbone}
        return model

    def loss(self, logits: Float[Tensor, " B"], values: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """Cross-entropy with values between 0 and 1, whose minimum is at the expected value."""
        return nn.functional.binary_cross_entropy_with_logits(logits, values)


def _normalize_steps(times: Int64[Tensor, "B 2"]) -> Float[Tensor, "B 2"]:
    """Times on a logarithmic scale: -1 at the beginning, 1 after `MAX_STEPS` steps."""
    return 2 * times.clamp(max=MAX_STEPS).float().log1p() / np.log1p(MAX_STEPS) - 1


def discounted_return(
    success: Bool[Tensor, " B"], steps_to_go: Int64[Tensor, " B"], discount: float
) -> Float[Tensor, " B"]:
    """Discounted return (B,) of frames: success * discount^(T - t), in [0, 1].

    Args:
        success: whether the episode succeeded, (B,).
        steps_to_go: control steps until the episode's end, (B,).
        discount: per control step.
    """
    return success.float() * discount ** steps_to_go.float()
