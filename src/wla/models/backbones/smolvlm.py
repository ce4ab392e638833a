"""The small backbone: SmolVLM (Idefics3's layout) from transformers, as in SmolVLM2-256M and 500M.

Published weights have the names of this module's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from transformers import DynamicCache, SmolVLMConfig, SmolVLMModel

from wla.config import Config
from wla.models import attention
from wla.models.backbones.base import Backbone, Context, TextSizes, run_layers, token_positions
from wla.models.sizes import Depth, Side, Token, Vocabulary, Width


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
    `wla.types.ImageKey`). primary: the camera whose future the World Expert imagines.
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
        return SmolVLMBackbone(self)

    @property
    def image_tokens(self) -> dict[str, int]:
        """Image -> number of its placeholder tokens."""
        pixels = self.vision.patch_size * self.scale_factor
        return {name: (side // pixels) ** 2 for name, side in self.cameras.items()}

    @property
    def text_sizes(self) -> TextSizes:
        """Sizes of the text layers."""
        text = self.text
        return TextSizes(
            text.hidden_size,
            text.intermediate_size,
            text.num_hidden_layers,
            text.num_attention_heads,
            text.num_key_value_heads,
            text.head_dim,
            text.vocab_size,
            head_norms=False,
        )


class SmolVLMBackbone(Backbone):
    """SigLIP's vision tower, whose patches are merged and projected, and causal Llama layers."""

    def __init__(self, config: SmolVLMBackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.text.hidden_size
        self.num_layers = config.text.num_hidden_layers
        self.primary = config.primary
        self.image_tokens = config.image_tokens
        text = config.text.model_dump(exclude={"rope_theta"})
        rope = {"rope_type": "default", "rope_theta": config.text.rope_theta}
        self.model = SmolVLMModel(
            SmolVLMConfig(
                text_config={"model_type": "llama", **text, "rope_parameters": rope, "pad_token_id": None},
                vision_config=config.vision.model_dump(),
                scale_factor=config.scale_factor,
                image_token_id=config.image_token,
                tie_word_embeddings=config.tie_word_embeddings,
                attn_implementation={"text_config": attention.NAME, "vision_config": "sdpa"},
            )
        )
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(self.width, config.text.vocab_size, bias=False)

    def encode(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        *,
        keep_cache: bool = False,
    ) -> Context:
        features = {name: self._features(images[name]) for name in self.image_tokens}
        embeddings = self.model.text_model.embed_tokens(tokens)
        placeholders = tokens == self.config.image_token
        wanted, counts = sum(self.image_tokens.values()), placeholders.sum(1)
        if bool((counts != wanted).any()):
            raise ValueError(
                f"a prompt has {int(counts[counts != wanted][0])} image placeholders and the images give {wanted} "
                "tokens; build the prompt for these images"
            )
        pixels = torch.cat(list(features.values()), dim=1).to(embeddings.dtype)
        embeddings = embeddings.masked_scatter(placeholders[..., None], pixels)
        cache = DynamicCache() if keep_cache else None
        return self._layers(embeddings, Context([], features, attention_mask, cache))

    def extend(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        assert context.cache is not None, "encode with keep_cache=True before extending"
        attention_mask = torch.cat([context.attention_mask, mask], dim=1)
        embeddings = self.model.text_model.embed_tokens(tokens)
        return self._layers(embeddings, Context([], context.images, attention_mask, context.cache))

    def enable_activation_checkpointing(self) -> None:
        self.model.gradient_checkpointing_enable({"use_reentrant": False})

    def logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        text = self.model.text_model
        head = text.embed_tokens if self.lm_head is None else self.lm_head
        return nn.functional.linear(text.norm(states), head.weight)

    def _features(self, images: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B P D"]:
        """Features of images, whose pixels are scaled to [-1, 1] as the library's processor does."""
        pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0  # half precision would merge neighbouring shades
        tower = self.model.vision_model
        return self.model.connector(tower(pixels.to(tower.dtype)).last_hidden_state)

    def _layers(self, x: Float[Tensor, "B T D"], context: Context) -> Context:
        text = self.model.text_model
        rotary = text.rotary_emb(x, token_positions(context.attention_mask, x.shape[1]))
        return run_layers(text.layers, x, context, rotary)
