"""Weights of the loss terms, and their weighted sum; for WLA-0 L = L_act + alpha L_wm + beta L_lang."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from jaxtyping import Float
from pydantic import NonNegativeFloat, model_validator
from torch import Tensor

from wla.config import Config


class LossWeights(Config):
    """Weights of a WLA's loss terms; defaults of WLA-0. Text that is learned from scratch needs more weight."""

    action: NonNegativeFloat = 1.0
    world: NonNegativeFloat = 0.1
    language: NonNegativeFloat = 0.005

    @model_validator(mode="after")
    def _teaches_something(self) -> Self:
        if not any(weight for _, weight in self):
            raise ValueError("all weights are 0, so that nothing is learned; give one of them a positive value")
        return self


def weighted_sum(losses: Mapping[str, Float[Tensor, ""]], weights: Config) -> Float[Tensor, ""]:
    """Sum of the loss terms, each times the field of `weights` with its name."""
    first, *others = (weight * losses[name] for name, weight in weights)
    return sum(others, first)
