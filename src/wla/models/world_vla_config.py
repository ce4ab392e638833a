"""Configuration of WorldVLA, apart from the model, because a recipe is read and printed without torch."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, NonNegativeFloat, model_validator

from wla.config import Config
from wla.models.backbones.configs import TextSizes
from wla.models.configs import CodecPolicyConfig
from wla.models.model_config import ModelInterface
from wla.models.sizes import Depth, Side, StateWidth, Token, Vocabulary, Width
from wla.specs import ImageFit
from wla.types import ImageKey

if TYPE_CHECKING:
    from wla.models.world_vla import WorldVLA


MARKERS = ("action", "world", "image", "unknown")
"""Tokens beside text, codes and bins: begin of an action, of a world sample, of the next image; an action that nobody
knows."""
DecoderLayout = Literal["qwen3", "chameleon"]


class TokenRows(Config):
    """First rows of the tokens that are no text in a published vocabulary, which holds all of them."""

    codes: Token
    actions: Token
    markers: Token


class WorldVLALossWeights(Config):
    """Weights of the loss terms: cross entropy of action tokens, and of the next image's tokens."""

    action: NonNegativeFloat = 1.0
    world: NonNegativeFloat = 0.04


class WorldVLAConfig(CodecPolicyConfig):
    """Sizes. images: image -> side of its square in pixels, the primary camera's first, a multiple of the codec's
    downsampling. vocabulary: text tokens, in front of those of images and actions."""

    kind: Literal["world_vla"] = "world_vla"
    images: dict[str, Side] = Field(min_length=1)
    vocabulary: Vocabulary
    image_token: Token
    """Placeholder of an image's tokens in prompts."""
    state_dim: StateWidth
    action_dim: Width
    chunk: Width
    action_bins: int = Field(default=256, ge=2, le=2**16)
    """Bins of an action's dimension, from -1 to 1."""
    token_rows: TokenRows | None = None
    """Where codes, actions and markers are among the rows of `vocabulary` (None: behind them, in this order)."""
    layout: DecoderLayout = "qwen3"
    """Layers of the decoder: Qwen3's, whose logits come from the embedding, or Chameleon's, with logits of their own:
    the layout of published weights (`wla.training.FromChameleon`)."""
    width: Width = 192
    layers: Depth = 4
    heads: Width = 6
    mlp: Width = 512
    action_mask: bool = True
    """Actions of a chunk do not see earlier ones, so that their errors do not spread; all are then decoded at once, one
    dimension after the other."""
    continuous_head: bool = False
    """Actions are regressed by queries that see each other (RynnVLA-002), in addition to the tokens."""
    z_loss: NonNegativeFloat = 1e-5
    """Weight of the squared logarithm of the softmax's normaliser, in each term."""
    max_world_samples: int | None = Field(default=None, ge=1)
    """Samples of a batch that the next image is learned from (None: all)."""
    image_fit: ImageFit = "pad"
    """How images that are not square become so."""
    loss_weights: WorldVLALossWeights = WorldVLALossWeights()

    @model_validator(mode="after")
    def _images_have_codes(self) -> Self:
        if not self.codec.levels:
            raise ValueError("codec: has continuous latents; WorldVLA reads codes, so give it levels")
        first = next(iter(self.images))
        if ImageKey.parse(first).time != "current":
            raise ValueError(
                f"images: {first!r} is the first, and the next image is learned after it; name the current one first"
            )
        for name, side in self.images.items():
            if side % self.codec.downsampling:
                raise ValueError(f"images.{name}: {side} pixels are not a multiple of {self.codec.downsampling}")
        return self

    @model_validator(mode="after")
    def _rows_apart(self) -> Self:
        used = sorted((first, first + count) for first, count in self._ranges())
        overlap = any(end > start for (_, end), (start, _) in pairwise(used))
        if self.token_rows is not None and (overlap or used[-1][1] > self.vocabulary):
            raise ValueError(
                f"token_rows: {self.codec.num_codes} codes, {self.action_bins} bins of actions and {len(MARKERS)} "
                f"markers overlap or reach beyond the {self.vocabulary} rows of the vocabulary; move them apart"
            )
        return self

    @property
    def rows(self) -> TokenRows:
        """First rows of the tokens that are no text."""
        if self.token_rows is not None:
            return self.token_rows
        actions = self.vocabulary + self.codec.num_codes
        return TokenRows(codes=self.vocabulary, actions=actions, markers=actions + self.action_bins)

    @property
    def sizes(self) -> TextSizes:
        """Sizes of the decoder, whose vocabulary has all tokens."""
        rows = max(self.vocabulary, *(first + count for first, count in self._ranges()))
        return TextSizes(
            self.width, self.mlp, self.layers, self.heads, self.heads, self.width // self.heads, vocabulary=rows
        )

    def _ranges(self) -> tuple[tuple[int, int], ...]:
        rows = self.rows
        return (rows.codes, self.codec.num_codes), (rows.actions, self.action_bins), (rows.markers, len(MARKERS))

    @property
    def text_vocabulary(self) -> int:
        """Text tokens that a tokenizer may have."""
        return self.vocabulary

    @property
    def interface(self) -> ModelInterface:
        first = next(iter(self.images))
        return ModelInterface(
            images=self.images,
            primary=ImageKey.parse(first).camera,
            state_dim=self.state_dim,
            action_dim=self.action_dim,
            chunk=self.chunk,
            image_tokens={name: (side // self.codec.downsampling) ** 2 for name, side in self.images.items()},
            subgoal_size=self.images[first],
            image_fit=self.image_fit,
        )

    def build(self, *, imagination: bool = True) -> WorldVLA:
        from wla.models.world_vla import WorldVLA

        return WorldVLA(self)
