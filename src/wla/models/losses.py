"""Loss terms that several models share."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from wla.config import Config
from wla.types import IGNORE_INDEX


def masked_mean(values: Float[Tensor, "*N"], mask: Bool[Tensor, "*N"]) -> Float[Tensor, ""]:
    """Mean over the entries where mask is True; zero when there are none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def next_token_loss(logits: Float[Tensor, "N vocabulary"], labels: Int64[Tensor, " N"]) -> Float[Tensor, ""]:
    """Mean cross entropy over labelled tokens; zero when there are none."""
    total = nn.functional.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (labels != IGNORE_INDEX).sum().clamp(min=1)


def weighted_sum(losses: Mapping[str, Float[Tensor, ""]], weights: Config) -> Float[Tensor, ""]:
    """Sum of the loss terms, each times the field of `weights` with its name."""
    first, *others = (weight * losses[name] for name, weight in weights)
    return sum(others, first)
