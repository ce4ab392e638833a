"""Loss terms and their weighted sum; for WLA-0 L = L_act + alpha L_wm + beta L_lang, each over its own targets."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from wla.batch import IGNORE_INDEX
from wla.config import Config


class LossWeights(Config):
    """Weights of a WLA's loss terms; defaults of WLA-0. Text that is learned from scratch needs more weight."""

    action: float = 1.0
    world: float = 0.1
    language: float = 0.005


def weighted_sum(losses: Mapping[str, Float[Tensor, ""]], weights: Config) -> Float[Tensor, ""]:
    """Sum of the loss terms, each times the field of `weights` with its name."""
    first, *others = (weight * losses[name] for name, weight in weights)
    return sum(others, first)


def masked_mean(values: Float[Tensor, "*N"], mask: Bool[Tensor, "*N"]) -> Float[Tensor, ""]:
    """Mean over the entries where mask is True; zero when there are none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def next_token_loss(logits: Float[Tensor, "N vocabulary"], labels: Int64[Tensor, " N"]) -> Float[Tensor, ""]:
    """Mean cross entropy over labelled tokens; zero when there are none."""
    total = nn.functional.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (labels != IGNORE_INDEX).sum().clamp(min=1)
