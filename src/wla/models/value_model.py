"""The value model: an instruction, a frame, what is being done and for how long -> the value, between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from pydantic import Field
from torch import Tensor, nn

from wla.config import Config
from wla.models.backbones.nano import NanoBackboneConfig
from wla.models.backbones.qwen3_vl import QwenBackboneConfig

MAX_STEPS = 1000
"""Control steps; times beyond are all the same."""


class ValueConfig(Config):
    """Sizes, and what is learned. The backbone sees one camera: the one whose future is imagined."""

    backbone: NanoBackboneConfig | QwenBackboneConfig
    discount: float = Field(default=0.98, gt=0, lt=1)
    """The value of a frame is this to the power of the control steps until success; 0 in episodes that fail."""
    width: int = 64
    """Of the head's two hidden layers."""


class ValueModel(nn.Module):
    """A head on a policy's backbone: on its state at the prompt's end, and on two times.

    The backbone is frozen. Learning, too, it knew the rollouts by heart, and was a worse judge of others.
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
        """Log-odds of the value; prompts are padded on the left. times: control steps since the episode and since the
        present subtask began."""
        last = self.backbone.encode(tokens, attention_mask, images).last[:, -1]
        state = nn.functional.rms_norm(last, last.shape[-1:])
        return self.head(torch.cat([state, _normalize_steps(times).to(state)], dim=-1)).float()[:, 0]

    def loss(self, logits: Float[Tensor, " B"], values: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """Cross-entropy with values between 0 and 1, which is least for the expected value."""
        return nn.functional.binary_cross_entropy_with_logits(logits, values)


def _normalize_steps(times: Int64[Tensor, "B 2"]) -> Float[Tensor, "B 2"]:
    """-1 at the beginning, 1 after `MAX_STEPS` steps; a step counts for less the later it is."""
    return 2 * times.clamp(max=MAX_STEPS).float().log1p() / np.log1p(MAX_STEPS) - 1


def discounted_return(
    success: Bool[Tensor, " B"], steps_to_go: Int64[Tensor, " B"], discount: float
) -> Float[Tensor, " B"]:
    """y * g^(T - t): what a frame was worth. left: control steps until its episode ends."""
    return success.float() * discount ** steps_to_go.float()
