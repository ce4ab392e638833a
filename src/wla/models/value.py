"""The value model: an instruction and a frame -> how near the goal is, between 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool, Float, Int64, UInt8
from pydantic import Field
from torch import Tensor, nn

from wla.config import Config
from wla.models.nano_backbone import NanoBackboneConfig
from wla.models.qwen_backbone import QwenBackboneConfig


class ValueConfig(Config):
    """Sizes, and what is learned. The backbone sees one camera: the one whose future is imagined."""

    backbone: NanoBackboneConfig | QwenBackboneConfig
    discount: float = Field(default=0.98, gt=0, lt=1)
    """The value of a frame is this to the power of the control steps until success; 0 in episodes that fail."""


class ValueModel(nn.Module):
    """A backbone, and a linear layer on its state at the prompt's end."""

    def __init__(self, config: ValueConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = config.backbone.build()
        self.head = nn.Linear(self.backbone.width, 1)

    def forward(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
    ) -> Float[Tensor, " B"]:
        """Log-odds of the value; prompts are padded on the left."""
        last = self.backbone.read(tokens, attention_mask, images).last[:, -1]
        return self.head(nn.functional.rms_norm(last, last.shape[-1:])).float()[:, 0]

    def loss(self, logits: Float[Tensor, " B"], values: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """Cross-entropy with values between 0 and 1, which is least for the expected value."""
        return nn.functional.binary_cross_entropy_with_logits(logits, values)


def discounted(success: Bool[Tensor, " B"], left: Int64[Tensor, " B"], discount: float) -> Float[Tensor, " B"]:
    """y * g^(T - t): what a frame was worth. left: control steps until its episode ends."""
    return success.float() * discount ** left.float()
