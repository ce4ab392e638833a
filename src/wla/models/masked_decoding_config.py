"""Configuration of masked block decoding and of a text model for it.

Apart from the model, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wla.config import Config
from wla.models.sizes import Depth, Token, Vocabulary, Width


class MaskedDecodingConfig(Config):
    """Text in blocks of masked tokens, of which each forward pass reveals one or more."""

    block: int = Field(default=16, ge=1, le=4096)
    """Tokens of a block."""
    max_blocks: int = Field(default=2, ge=1, le=4096)
    """Blocks after which a text ends in any case."""
    threshold: float = Field(default=0.9, gt=0)
    """Probability from which a token is revealed; above 1 each pass reveals one token."""
    mask: Token
    """The token of what is still masked."""
    stop: Token
    """The token that ends a text."""
    pad: Token
    """The token after the end of a text."""


class BlockTextConfig(Config):
    """Sizes of a transformer for text in masked blocks. prompt: tokens in front of the first block."""

    vocabulary: Vocabulary
    prompt: Annotated[int, Field(ge=1, le=4096)]
    block: Annotated[int, Field(ge=1, le=4096)]
    width: Width = 64
    layers: Depth = 3
    heads: Width = 4
    mlp: Width = 192
