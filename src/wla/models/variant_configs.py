"""Configuration of the ways to join world and action that share backbone and Action Expert with `WLAConfig`.

Apart from the models, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import NonNegativeFloat, model_validator

from wla.models.configs import ActionExpertPolicyConfig, BackboneLossWeights
from wla.models.model_config import ModelInterface
from wla.models.sizes import Width

if TYPE_CHECKING:
    from wla.models.aligned import Aligned
    from wla.models.plain_vla import PlainVLA


class PlainVLALossWeights(BackboneLossWeights):
    """Weights of the loss terms of a model that learns from no later image."""

    action: NonNegativeFloat = 1.0
    language: NonNegativeFloat = 0.005


class PlainVLAConfig(ActionExpertPolicyConfig):
    """A vision-language-action model without a world objective."""

    kind: Literal["plain_vla"] = "plain_vla"
    loss_weights: PlainVLALossWeights = PlainVLALossWeights()

    def build(self, *, imagination: bool = True) -> PlainVLA:
        from wla.models.plain_vla import PlainVLA

        return PlainVLA(self)


class AlignedLossWeights(BackboneLossWeights):
    """Weights of the loss terms of `AlignedConfig`. alignment: one minus the mean cosine similarity."""

    action: NonNegativeFloat = 1.0
    alignment: NonNegativeFloat = 0.2
    language: NonNegativeFloat = 0.005


class AlignedConfig(ActionExpertPolicyConfig):
    """A model whose meta-queries learn to tell the backbone's features of the later frame, and that generates no
    image."""

    kind: Literal["aligned"] = "aligned"
    predictor_heads: Width = 4
    """Heads of the network that makes features of the states of the queries; only training uses it."""
    loss_weights: AlignedLossWeights = AlignedLossWeights()

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if (width := self.backbone.text_sizes.width) % self.predictor_heads:
            raise ValueError(f"predictor_heads: {self.predictor_heads} do not divide the backbone's width {width}")
        return self

    @property
    def subgoal_size(self) -> int:
        return self.backbone.cameras[self.backbone.primary]

    @property
    def interface(self) -> ModelInterface:
        return replace(super().interface, predicts_images=False)

    def build(self, *, imagination: bool = True) -> Aligned:
        from wla.models.aligned import Aligned

        return Aligned(self)
