"""Configuration of the ways to join world and action that share backbone and Action Expert with `WLAConfig`.

Apart from the models, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, NonNegativeFloat, model_validator

from wla.models.configs import (
    ActionExpertPolicyConfig,
    BackboneLossWeights,
    BackbonePolicyConfig,
    CodecPolicyConfig,
    LossWeights,
    WorldExpertPolicyConfig,
)
from wla.models.experts.configs import JointExpertConfig
from wla.models.model_config import ModelInterface
from wla.models.sizes import Width

if TYPE_CHECKING:
    from wla.models.aligned import Aligned
    from wla.models.cascaded_latents import CascadedLatents
    from wla.models.cascaded_pixels import CascadedPixels
    from wla.models.joint import Joint
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


class CascadedConfig(WorldExpertPolicyConfig):
    """A model that acts on what its World Expert imagines. The states of the meta-queries learn nothing from actions,
    so the weight of the world's loss is to be high."""

    @model_validator(mode="after")
    def _imagines_without_guidance(self) -> Self:
        if self.world_expert.guidance != 1.0:
            raise ValueError("world_expert.guidance: a cascade imagines in each call, without guidance; set it to 1")
        return self


class CascadedLatentsConfig(CascadedConfig):
    """A cascade whose Action Expert reads the states of the World Expert's blocks, as many as it has blocks itself."""

    kind: Literal["cascaded_latents"] = "cascaded_latents"

    @model_validator(mode="after")
    def _a_block_for_each(self) -> Self:
        if (ours := self.world_expert.layers) < (read := self.action_expert.layers):
            raise ValueError(
                f"action_expert.layers: {read} blocks read as many of the World Expert's, which has {ours}; lower it"
            )
        return self

    def build(self, *, imagination: bool = True) -> CascadedLatents:
        from wla.models.cascaded_latents import CascadedLatents

        return CascadedLatents(self)


class CascadedPixelsConfig(CascadedConfig):
    """A cascade whose Action Expert finds the actions between the present frame and the imagined one."""

    kind: Literal["cascaded_pixels"] = "cascaded_pixels"
    latent_noise: float = Field(default=0.3, ge=0, le=1)
    """Highest noise level of the recorded later frame that inverse dynamics is trained on; 0 is without noise."""

    def build(self, *, imagination: bool = True) -> CascadedPixels:
        from wla.models.cascaded_pixels import CascadedPixels

        return CascadedPixels(self)


class JointConfig(BackbonePolicyConfig, CodecPolicyConfig):
    """A model that denoises the later frame's latent and the chunk together."""

    kind: Literal["joint"] = "joint"
    joint_expert: JointExpertConfig
    loss_weights: LossWeights = LossWeights()

    @model_validator(mode="after")
    def _same_latents(self) -> Self:
        expert, side = self.joint_expert, self.backbone.cameras[self.backbone.primary]
        if (ours := (expert.latent_channels, self.target_side)) != (self.codec.latent_channels, side):
            raise ValueError(
                f"joint_expert: denoises latents of {ours[0]} channels, {ours[1]} pixels along each side, and those of "
                f"the primary image have {self.codec.latent_channels} and {side}; make them equal"
            )
        return self

    @property
    def actor(self) -> JointExpertConfig:
        return self.joint_expert

    @property
    def target_side(self) -> int:
        """Pixels along each side of the image that it imagines."""
        return self.joint_expert.latent_size * self.codec.downsampling

    @property
    def subgoal_size(self) -> int:
        return self.target_side

    def build(self, *, imagination: bool = True) -> Joint:
        from wla.models.joint import Joint

        return Joint(self)
