"""A backbone small enough for a laptop: a convolutional vision stem in front of Qwen3 text layers.

The stem is convolutional because a plain patch embedding took several times as many steps to locate objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from transformers import DynamicCache, Qwen3Config, Qwen3Model

from wla.models import attention
from wla.models.activation_checkpointing import checkpoint_options
from wla.models.backbones.base import Backbone, Context, extended, fill_placeholders, run_layers, token_positions
from wla.models.backbones.configs import NanoBackboneConfig, TextSizes

_SUB_BATCH_SIZE = 16
"""Rows per forward pass of the layers, for a batch without a cache."""


class ResidualConv(nn.Module):
    """x + conv(silu(conv(x))), starting as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


_TAKEN = frozenset((*dir(nn.ParameterDict()), *dir(nn.ModuleDict()), ""))


def module_name(image: str) -> str:
    """The name of an image's own parameter or module: torch allows no dots there, and none of its own attributes.

    All others stay as they are, and no two images get the same.
    """
    name = image.replace("%", "%25").replace(".", "%2E")
    return f"%{name}" if name in _TAKEN else name


class ConvStem(nn.Module):
    """uint8 image (B, S, S, 3) -> tokens (B, (S/16)^2, D), with learned positions per camera."""

    def __init__(self, config: NanoBackboneConfig) -> None:
        super().__init__()
        channels = (3, *config.stem_channels, config.width)
        blocks: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(channels)):
            blocks.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            # The first level has only its strided convolution: at half resolution a residual block costs the most.
            blocks.append(ResidualConv(after) if index else nn.SiLU())
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(config.width)
        self.positions = nn.ParameterDict(
            {
                module_name(camera): nn.Parameter(0.02 * torch.randn((side // config.stride) ** 2, config.width))
                for camera, side in config.cameras.items()
            }
        )

    def forward(self, camera: str, image: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B P D"]:
        x = image.permute(0, 3, 1, 2).to(self.norm.weight.dtype).div_(127.5).sub_(1.0)
        features = self.blocks(x.contiguous(memory_format=torch.channels_last))
        return self.norm(features.flatten(2).transpose(1, 2)) + self.positions[module_name(camera)]


def text_decoder(sizes: TextSizes) -> Qwen3Model:
    """Causal text layers of these sizes with random weights, whose logits come from the embedding."""
    return Qwen3Model(
        Qwen3Config(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.width,
            intermediate_size=sizes.mlp,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.groups,
            head_dim=sizes.head_width,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            tie_word_embeddings=True,
            attn_implementation=attention.NAME,
        )
    )


class NanoBackbone(Backbone):
    """ConvStem tokens and text embeddings through causal Qwen3 layers with 1-D rotary positions."""

    traceable: ClassVar[bool] = True

    def __init__(self, config: NanoBackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.num_layers = config.layers
        self.primary, self.image_token = config.primary, config.image_token
        self.stem = ConvStem(config)
        self.image_tokens = config.image_tokens
        self.text = text_decoder(config.text_sizes)

    def encode(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        *,
        keep_cache: bool = False,
    ) -> Context:
        tokens, attention_mask, unpadded = self.receive(tokens, attention_mask, self.text.embed_tokens.weight.device)
        features = {camera: self.stem(camera, images[camera]) for camera in self.image_tokens}
        embeddings = self.text.embed_tokens(tokens)
        pixels = torch.cat(list(features.values()), dim=1).to(embeddings.dtype)
        embeddings = fill_placeholders(embeddings, tokens == self.image_token, pixels.flatten(0, 1))
        if keep_cache or embeddings.device.type != "cpu":
            cache = DynamicCache() if keep_cache else None
            return self._layers(embeddings, Context([], features, attention_mask, cache, unpadded=unpadded))
        return Context(self._by_length(embeddings, attention_mask), features, attention_mask, None)

    def extend(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        tokens, context = extended(context, tokens, mask)
        return self._layers(self.text.embed_tokens(tokens), context)

    def enable_activation_checkpointing(self) -> None:
        self.text.gradient_checkpointing_enable(checkpoint_options())

    def image_features(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B P D"]:
        return self.stem(self.primary, images)

    def logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        return nn.functional.linear(self.text.norm(states), self.text.embed_tokens.weight)

    def _by_length(
        self, x: Float[Tensor, "B T D"], attention_mask: Bool[Tensor, "B T"]
    ) -> list[Float[Tensor, "B T D"]]:
        """States per layer, computed in sub-batches of similar length: a third of a whole batch would be padding.

        On a CPU only: an accelerator would have to be asked for the lengths.
        """
        order = attention_mask.sum(1).argsort(stable=True)
        parts = []
        for rows in order.split(_SUB_BATCH_SIZE):
            longest = int(attention_mask[rows].sum(1).max())
            mask = attention_mask[rows, -longest:]
            parts.append(self._layers(x[rows, -longest:], Context([], {}, mask, None)).layers)
        length, restore = x.shape[1], order.argsort()
        return [
            torch.cat([nn.functional.pad(states, (0, 0, length - states.shape[1], 0)) for states in layer])[restore]
            for layer in zip(*parts, strict=True)
        ]

    def _layers(self, x: Float[Tensor, "B T D"], context: Context) -> Context:
        rotary = self.text.rotary_emb(x, token_positions(context.attention_mask, x.shape[1]))
        return run_layers(self.text.layers, x, context, rotary)
