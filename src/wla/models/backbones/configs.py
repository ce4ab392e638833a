"""Configuration of the backbones; one of them is identified by its fields.

Apart from the backbones, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from wla.config import Config
from wla.models.sizes import Depth, Side, Token, Vocabulary, Width

if TYPE_CHECKING:
    from wla.models.backbones.nano import NanoBackbone
    from wla.models.backbones.qwen3_vl import QwenBackbone
    from wla.models.backbones.smolvlm import SmolVLMBackbone


class MetaQueryConfig(Config):
    """Meta-queries are ordinary vocabulary entries: begin marker, end marker, then `count` queries in a row."""

    begin: int = Field(ge=0)
    end: int = Field(ge=0)
    first: int = Field(ge=0)
    count: int = Field(ge=1)


@dataclass(frozen=True)
class TextSizes:
    """Sizes of causal text layers. groups: heads of keys and values. head_norms: whether each head is normed."""

    width: int
    mlp: int
    layers: int
    heads: int
    groups: int
    head_width: int
    vocabulary: int
    head_norms: bool = True


class NanoBackboneConfig(Config):
    """Sizes. cameras: camera -> side of its (square) images in pixels, a multiple of `stride`."""

    vocabulary: Vocabulary
    image_token: Token
    cameras: dict[str, Side]
    width: Width = 192
    layers: Depth = 4
    heads: Width = 6
    mlp: Width = 512
    stem_channels: tuple[Width, ...] = (24, 48, 96)

    text_layers: ClassVar[str] = "text.layers"
    """Name of the module list of text layers."""
    vision_module: ClassVar[str] = "stem"
    """Name of the module that reads images."""
    vision_blocks: ClassVar[str] = "stem.blocks"
    """Name of its module list of blocks."""
    vision_embeddings: ClassVar[str] = r"stem\.positions"
    """Regular expression of its other parameters."""
    library_module: ClassVar[str | None] = None
    """Name of the module with a published library's weights: none, nano is trained from random weights."""

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        if not self.cameras:
            raise ValueError("cameras: name at least one, the primary one first")
        for camera, side in self.cameras.items():
            if side % self.stride:
                raise ValueError(f"cameras: {camera!r} has {side} pixels, give a multiple of {self.stride}")
        return self

    @property
    def stride(self) -> int:
        """Pixels per image token along each side."""
        return int(2 ** (len(self.stem_channels) + 1))

    def build(self) -> NanoBackbone:
        from wla.models.backbones.nano import NanoBackbone

        return NanoBackbone(self)

    @property
    def primary(self) -> str:
        """The image whose future the World Expert predicts: the first."""
        return next(iter(self.cameras))

    @property
    def image_tokens(self) -> dict[str, int]:
        """Image -> number of its placeholder tokens."""
        return {camera: (side // self.stride) ** 2 for camera, side in self.cameras.items()}

    @property
    def text_sizes(self) -> TextSizes:
        """Sizes of the text layers."""
        head_width = self.width // self.heads
        return TextSizes(self.width, self.mlp, self.layers, self.heads, self.heads, head_width, self.vocabulary)


class QwenTextConfig(Config):
    """Constructor arguments of Qwen3VLTextConfig, with the sizes of the 2B model."""

    vocab_size: Vocabulary
    hidden_size: Width = 2048
    intermediate_size: Width = 6144
    num_hidden_layers: Depth = 28
    num_attention_heads: Width = 16
    num_key_value_heads: Width = 8
    head_dim: Width = 128
    max_position_embeddings: PositiveInt = 262_144
    rms_norm_eps: PositiveFloat = 1e-6
    rope_theta: PositiveFloat = 5_000_000.0
    mrope_section: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (24, 20, 20)


class QwenVisionConfig(Config):
    """Constructor arguments of Qwen3VLVisionConfig, with the sizes of the 2B model."""

    depth: Depth = 24
    hidden_size: Width = 1024
    intermediate_size: Width = 4096
    num_heads: Width = 16
    patch_size: Side = 16
    spatial_merge_size: Side = 2
    temporal_patch_size: Side = 2
    out_hidden_size: Width = 2048
    num_position_embeddings: Vocabulary = 2304
    deepstack_visual_indexes: tuple[NonNegativeInt, ...] = (5, 11, 17)
    in_channels: Width = 3


class QwenBackboneConfig(Config):
    """Sizes and special tokens.

    cameras: image -> side of the (square) image in pixels, in the order of the prompt (keys are those of
    `wla.types.ImageKey`).
    primary: the current image of the camera whose future the World Expert imagines.
    """

    text: QwenTextConfig
    vision: QwenVisionConfig = QwenVisionConfig()
    image_token: Token
    vision_start: Token
    vision_end: Token
    cameras: dict[str, Side]
    primary: str

    text_layers: ClassVar[str] = "model.language_model.layers"
    """Name of the module list of text layers."""
    vision_module: ClassVar[str] = "model.visual"
    """Name of the module that reads images."""
    vision_blocks: ClassVar[str] = "model.visual.blocks"
    """Name of its module list of blocks."""
    vision_embeddings: ClassVar[str] = r"model\.visual\.(patch_embed|pos_embed)"
    """Regular expression of its parameters before the blocks."""
    library_module: ClassVar[str | None] = "model"
    """Name of the module with the published library's weights."""

    def build(self) -> QwenBackbone:
        from wla.models.backbones.qwen3_vl import QwenBackbone

        return QwenBackbone(self)

    @property
    def image_tokens(self) -> dict[str, int]:
        """Image -> number of its placeholder tokens."""
        pixels = self.vision.patch_size * self.vision.spatial_merge_size
        return {name: (side // pixels) ** 2 for name, side in self.cameras.items()}

    @property
    def text_sizes(self) -> TextSizes:
        """Sizes of the text layers."""
        return _text_sizes(self.text)


class SmolVLMTextConfig(Config):
    """Constructor arguments of LlamaConfig, with the sizes of the 256M model."""

    vocab_size: Vocabulary
    hidden_size: Width = 576
    intermediate_size: Width = 1536
    num_hidden_layers: Depth = 30
    num_attention_heads: Width = 9
    num_key_value_heads: Width = 3
    head_dim: Width = 64
    max_position_embeddings: PositiveInt = 8192
    rms_norm_eps: PositiveFloat = 1e-5
    rope_theta: PositiveFloat = 100_000.0


class SmolVLMVisionConfig(Config):
    """Constructor arguments of transformers' SmolVLMVisionConfig, with the sizes of the 256M and 500M models."""

    hidden_size: Width = 768
    intermediate_size: Width = 3072
    num_hidden_layers: Depth = 12
    num_attention_heads: Width = 12
    image_size: Side = 512
    """Side of the image whose patches the position embedding has rows for; other sides share them."""
    patch_size: Side = 16


class SmolVLMBackboneConfig(Config):
    """Sizes and special tokens.

    cameras: image -> side of the (square) image in pixels, in the order of the prompt (keys are those of
    `wla.types.ImageKey`). primary: the current image of the camera whose future the World Expert imagines.
    """

    text: SmolVLMTextConfig
    vision: SmolVLMVisionConfig = SmolVLMVisionConfig()
    scale_factor: Width = 4
    """Patches along each side of the square that becomes one token."""
    tie_word_embeddings: bool = False
    image_token: Token
    cameras: dict[str, Side]
    primary: str

    text_layers: ClassVar[str] = "model.text_model.layers"
    """Name of the module list of text layers."""
    vision_module: ClassVar[str] = "model.vision_model"
    """Name of the module that reads images."""
    vision_blocks: ClassVar[str] = "model.vision_model.encoder.layers"
    """Name of its module list of blocks."""
    vision_embeddings: ClassVar[str] = r"model\.vision_model\.embeddings"
    """Regular expression of its parameters before the blocks."""
    library_module: ClassVar[str | None] = None
    """Name of the module with the published library's weights: none, the whole backbone has them."""

    @model_validator(mode="after")
    def _check_sides(self) -> Self:
        pixels = self.vision.patch_size * self.scale_factor
        for name, side in self.cameras.items():
            if side % pixels:
                raise ValueError(f"cameras.{name}: {side} pixels are not a multiple of {pixels}, those of one token")
        return self

    def build(self) -> SmolVLMBackbone:
        from wla.models.backbones.smolvlm import SmolVLMBackbone

        return SmolVLMBackbone(self)

    @property
    def image_tokens(self) -> dict[str, int]:
        """Image -> number of its placeholder tokens."""
        pixels = self.vision.patch_size * self.scale_factor
        return {name: (side // pixels) ** 2 for name, side in self.cameras.items()}

    @property
    def text_sizes(self) -> TextSizes:
        """Sizes of the text layers."""
        return _text_sizes(self.text, head_norms=False)


BackboneConfig = NanoBackboneConfig | QwenBackboneConfig | SmolVLMBackboneConfig


def _text_sizes(text: QwenTextConfig | SmolVLMTextConfig, *, head_norms: bool = True) -> TextSizes:
    return TextSizes(
        text.hidden_size,
        text.intermediate_size,
        text.num_hidden_layers,
        text.num_attention_heads,
        text.num_key_value_heads,
        text.head_dim,
        text.vocab_size,
        head_norms=head_norms,
    )
