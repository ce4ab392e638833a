"""The clipped policy gradient, of whatever has a likelihood."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MAX_LOG_RATIO = 10.0
"""Beyond it the exponential would only overflow."""


class ClippedLoss(NamedTuple):
    """loss: to be minimised. ratio: probability now over that when it was drawn. outside: whether it is clipped.
    divergence: from what drew it (the estimate k3)."""

    loss: Float[Tensor, ""]
    ratio: Float[Tensor, " B"]
    outside: Bool[Tensor, " B"]
    divergence: Float[Tensor, " B"]


def clipped_loss(log_ratio: Float[Tensor, " B"], advantage: Float[Tensor, " B"], clip: float) -> ClippedLoss:
    """PPO's loss: what has become likelier, or less likely, than by `clip` is pushed no further.

    log_ratio: log-probability now minus that when it was drawn.
    """
    log_ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    return ClippedLoss(loss, ratio, ratio != clipped, divergence_estimate(-log_ratio))


def divergence_estimate(log_ratio: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    """Divergence of the policy that drew from another one (k3: unbiased, never negative).

    log_ratio: log-probability under the other minus that under the one that drew.
    """
    return log_ratio.exp() - 1 - log_ratio


def standardized(advantage: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Advantages with mean 0 and standard deviation 1 over all of an update; none stay none."""
    if not len(advantage):
        return advantage
    return (advantage - advantage.mean()) / advantage.std(correction=0).clamp(min=1e-8)
