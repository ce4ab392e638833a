"""The three losses and how they add up: L = L_act + alpha L_wm + beta L_lang, each over the samples that have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from wla.config import Config
from wla.types import IGNORE_INDEX


class LossWeights(Config):
    """WLA-0: world 0.1, language 0.005. Text that is learned from scratch needs more weight."""

    action: float = 1.0
    world: float = 0.1
    language: float = 0.005


@dataclass
class Losses:
    """One training step's losses; a term is zero (and without gradient) when no sample of the batch has it."""

    action: Float[Tensor, ""]
    world: Float[Tensor, ""]
    language: Float[Tensor, ""]

    def scaled(self, factors: Mapping[str, float]) -> Losses:
        """Each term times its factor, by name."""
        return Losses(**{name: getattr(self, name) * factor for name, factor in factors.items()})

    def total(self, weights: LossWeights) -> Float[Tensor, ""]:
        return weights.action * self.action + weights.world * self.world + weights.language * self.language


def masked_mean(values: Float[Tensor, "*N"], mask: Bool[Tensor, "*N"]) -> Float[Tensor, ""]:
    """Mean over the entries where mask is True; zero when there are none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def next_token_loss(logits: Float[Tensor, "N vocabulary"], labels: Int64[Tensor, " N"]) -> Float[Tensor, ""]:
    """Mean cross entropy over labelled tokens; zero when there are none."""
    total = nn.functional.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (labels != IGNORE_INDEX).sum().clamp(min=1)
