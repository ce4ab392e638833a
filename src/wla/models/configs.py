"""Configuration of the models: the world-language-action model with its codec, value model, inverse dynamics.

Apart from the models, because a recipe is read and printed without torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from wla.config import Config
from wla.models.backbones.configs import BackboneConfig, MetaQueryConfig, NanoBackboneConfig, QwenBackboneConfig
from wla.models.experts.configs import ActionExpertConfig, ChunkConfig, WorldExpertConfig
from wla.models.model_config import ModelInterface, PolicyModelConfig, RealtimeConfig
from wla.models.sizes import Layers, Side, Width
from wla.specs import ImageFit
from wla.types import ImageKey

if TYPE_CHECKING:
    from wla.models.wla import WLA


Block = Literal["ResBlock", "EfficientViTBlock"]


class ImageCodecConfig(Config):
    """Constructor arguments of AutoencoderDC, under its names and with its defaults.

    scaling_factor: factor that gives latents about unit variance.
    layers_per_block: a first entry of 0 makes the first convolution downsample.
    levels: of ours: values of each latent channel, where latents are quantized (see `wla.models.quantizer`).
    """

    in_channels: Width = 3
    latent_channels: Width = 32
    attention_head_dim: Width = 32
    encoder_block_types: Block | tuple[Block, ...] = "ResBlock"
    decoder_block_types: Block | tuple[Block, ...] = "ResBlock"
    encoder_block_out_channels: tuple[Width, ...] = (128, 256, 512, 512, 1024, 1024)
    decoder_block_out_channels: tuple[Width, ...] = (128, 256, 512, 512, 1024, 1024)
    encoder_layers_per_block: tuple[Layers, ...] = (2, 2, 2, 3, 3, 3)
    decoder_layers_per_block: tuple[Layers, ...] = (3, 3, 3, 3, 3, 3)
    encoder_qkv_multiscales: tuple[tuple[PositiveInt, ...], ...] = ((), (), (), (5,), (5,), (5,))
    decoder_qkv_multiscales: tuple[tuple[PositiveInt, ...], ...] = ((), (), (), (5,), (5,), (5,))
    upsample_block_type: str = "pixel_shuffle"
    downsample_block_type: str = "pixel_unshuffle"
    decoder_norm_types: str | tuple[str, ...] = "rms_norm"
    decoder_act_fns: str | tuple[str, ...] = "silu"
    encoder_out_shortcut: bool = True
    decoder_in_shortcut: bool = True
    decoder_conv_act_fn: str = "relu"
    scaling_factor: float = Field(default=1.0, gt=0)
    levels: tuple[Annotated[int, Field(ge=3, le=1024)], ...] = ()

    @model_validator(mode="after")
    def _levels_for_all_channels(self) -> Self:
        if self.levels and len(self.levels) != self.latent_channels:
            raise ValueError(f"levels: {len(self.levels)} for {self.latent_channels} latent channels; give one each")
        return self

    @property
    def num_codes(self) -> int:
        """Number of different latent vectors; 0 where latents are continuous."""
        return math.prod(self.levels) if self.levels else 0

    @property
    def downsampling(self) -> int:
        """Pixels per latent along each side."""
        return int(2 ** (len(self.encoder_block_out_channels) - 1))


def residual_codec(
    *, latent_channels: int, channels: tuple[int, ...], layers: tuple[int, ...], levels: tuple[int, ...] = ()
) -> ImageCodecConfig:
    """A codec of residual convolutions only, encoder and decoder of the same sizes: cheap on a CPU.

    Args:
        latent_channels: channels of a latent.
        channels: channels per resolution; each one after the first halves the image.
        layers: residual blocks per resolution.
        levels: see `ImageCodecConfig`.
    """
    scales: tuple[tuple[int, ...], ...] = ((),) * len(channels)
    return ImageCodecConfig(
        latent_channels=latent_channels,
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        encoder_layers_per_block=layers,
        decoder_layers_per_block=layers,
        encoder_qkv_multiscales=scales,
        decoder_qkv_multiscales=scales,
        levels=levels,
    )


class BackboneLossWeights(Config):
    """Base of the weights of the loss terms of a model with a backbone; each has a field."""

    @model_validator(mode="after")
    def _teaches_something(self) -> Self:
        if not any(weight for _, weight in self):
            raise ValueError("all weights are 0, so that nothing is learned; give one of them a positive value")
        return self


class LossWeights(BackboneLossWeights):
    """Weights of the loss terms of a model that learns images; defaults of WLA-0. Text that is learned from scratch
    needs more weight."""

    action: NonNegativeFloat = 1.0
    world: NonNegativeFloat = 0.1
    language: NonNegativeFloat = 0.005


class MaskedDraftsConfig(Config):
    """Drafts of several text tokens in one pass, see `wla.models.masked_drafter`."""

    tokens: int = Field(default=24, ge=2, le=4096)
    """Tokens of a draft. A finished policy may draft fewer than it was trained with: a mask sees none after it."""
    rank: Width = 8
    """Of the adapters with which the backbone reads masked tokens."""


class BackbonePolicyConfig(PolicyModelConfig):
    """What the models with a backbone share."""

    backbone: BackboneConfig
    queries: MetaQueryConfig
    image_fit: ImageFit = "pad"
    """How images that are not square become so, in training as in acting: padded with black, cropped to their middle,
    or stretched."""
    masked_drafts: MaskedDraftsConfig | None = None
    """Text is drafted several tokens at once where it changes, and verified; None: decoded token by token."""
    loss_weights: BackboneLossWeights

    @property
    def text_vocabulary(self) -> int:
        """Rows of the embedding of text tokens."""
        return self.backbone.text_sizes.vocabulary

    @property
    @abstractmethod
    def actor(self) -> ChunkConfig:
        """The part that makes chunks."""

    @property
    def subgoal_size(self) -> int | None:
        """See `ModelInterface`."""
        return None

    @property
    def interface(self) -> ModelInterface:
        return ModelInterface(
            images=self.backbone.cameras,
            primary=ImageKey.parse(self.backbone.primary).camera,
            state_dim=self.actor.state_dim,
            action_dim=self.actor.action_dim,
            chunk=self.actor.chunk,
            image_tokens=self.backbone.image_tokens,
            subgoal_size=self.subgoal_size,
            image_fit=self.image_fit,
        )


class ActionExpertPolicyConfig(BackbonePolicyConfig):
    """A model that acts by an Action Expert, which reads as many last layers of the backbone as it has blocks."""

    action_expert: ActionExpertConfig

    @property
    def actor(self) -> ActionExpertConfig:
        return self.action_expert

    def with_realtime(self, realtime: RealtimeConfig, delta_dims: tuple[int, ...]) -> Self:
        given = {"max_delay": realtime.max_delay, "prefix_noise": realtime.prefix_noise}
        dims = delta_dims if realtime.prefix_noise else ()
        return self.replace(action_expert=self.action_expert.replace(**given, delta_dims=dims))


class CodecPolicyConfig(PolicyModelConfig):
    """A model with a frozen image codec."""

    codec: ImageCodecConfig

    def with_frozen_parts(self, other: PolicyModelConfig) -> Self:
        """The codec is frozen: latents and codes keep the meaning that they have for the other model."""
        return self.replace(codec=other.codec) if isinstance(other, CodecPolicyConfig) else self


class WorldExpertPolicyConfig(ActionExpertPolicyConfig, CodecPolicyConfig):
    """A model with a World Expert, which reads as many last layers of the backbone as it has blocks."""

    world_expert: WorldExpertConfig
    max_world_samples: PositiveInt | None = None
    """Train the World Expert on at most this many samples of each batch (None: all): it costs the most per sample."""
    loss_weights: LossWeights = LossWeights()

    @model_validator(mode="after")
    def _same_actions(self) -> Self:
        read, expert = self.world_expert.actions, self.action_expert
        if read is None:
            return self
        sizes = [(each.chunk, each.action_dim, each.state_dim) for each in (read, expert)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"world_expert.actions reads {read.chunk} x {read.action_dim} numbers from a state of "
                f"{read.state_dim}, the Action Expert's chunk is {expert.chunk} x {expert.action_dim} from a state of "
                f"{expert.state_dim}: they are the same actions"
            )
        return self

    @model_validator(mode="after")
    def _same_frames(self) -> Self:
        side = self.backbone.cameras.get(self.backbone.primary)
        if self.world_expert.condition_on_current_frame and side != self.target_side:
            raise ValueError(
                f"world_expert.condition_on_current_frame: the primary image has {side} pixels along each side and the "
                f"imagined one {self.target_side} (latent_size x the codec's downsampling); make them equal"
            )
        return self

    @property
    def target_side(self) -> int:
        """Pixels along each side of the image that the World Expert imagines."""
        return self.world_expert.latent_size * self.codec.downsampling

    @property
    def subgoal_size(self) -> int:
        return self.target_side


class WLAConfig(WorldExpertPolicyConfig):
    """The whole model. Each expert reads the states of as many last backbone layers as it has blocks."""

    kind: Literal["wla"] = "wla"

    def build(self, *, imagination: bool = True) -> WLA:
        from wla.models.wla import WLA

        return WLA(self, imagination=imagination)


class ValueConfig(Config):
    """Sizes and discount. The backbone has one camera: the one whose future is imagined."""

    backbone: NanoBackboneConfig | QwenBackboneConfig
    discount: float = Field(default=0.98, gt=0, lt=1)
    """Discount per control step: the value of a frame is its power of the steps until success; 0 in failed episodes."""
    width: Width = 64
    """Width of the head's two hidden layers."""


class InverseConfig(Config):
    """Sizes. cameras: camera -> side of the (square) images, a multiple of 4."""

    cameras: dict[str, Side] = Field(min_length=1)
    action_dim: Width
    lookahead: Width = 2
    """Number of input frames after the first: a finger takes more than one step to close."""
    channels: tuple[Width, Width] = (16, 32)
    num_keypoints: Width = 32
    """Keypoints per camera."""
    width: Width = 256

    @model_validator(mode="after")
    def _check_image_sides(self) -> Self:
        for camera, side in self.cameras.items():
            if side % 4:
                raise ValueError(f"cameras.{camera}: {side} pixels are not a multiple of 4")
        return self
