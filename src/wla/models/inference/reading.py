"""The nano backbone as functions of tensors: an image, a prompt, further text.

The same numbers as the reference, with fewer and larger products: scales of norms lie in the weights behind them,
layers with one input are one product, and a convolution is a product of patches. The last layer is computed for the
tokens whose states are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from wla.models.backbones.base import causal_mask, fill_placeholders, token_positions
from wla.models.backbones.nano import ConvStem, NanoBackbone, ResidualConv
from wla.models.inference.layout import Product, fused, in_memory


def read_image(side: int) -> str:
    """Name of the function that reads images of a size."""
    return f"read_image_{side}"


class ReadImage(nn.Module):
    """`ConvStem` without the positions of a camera, which its caller adds: one function for all images of a size."""

    def __init__(self, stem: ConvStem) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_by_patches(block) for block in stem.blocks)
        self.norm = stem.norm

    def forward(self, image: UInt8[Tensor, "B S S 3"]) -> list[Float[Tensor, "B P D"]]:
        x = image.to(self.norm.weight.dtype) / 127.5 - 1.0
        for block in self.blocks:
            x = block(x)
        return [self.norm(x.flatten(1, 2))]


class ReadPrompt(nn.Module):
    """`Backbone.encode` of prompts that are to be extended, whose images have been read."""

    def __init__(self, text: TextLayers, image_token: int) -> None:
        super().__init__()
        self.text, self.image_token = text, image_token

    def forward(
        self, head: Int64[Tensor, "B S"], tail: Int64[Tensor, "B K"], padding: Int64[Tensor, "B 1"], *features: Tensor
    ) -> list[Tensor]:
        """Returns see `TextLayers`, of the tail.

        head, tail: a prompt in two parts, of which only the second has states that are read. padding: number of tokens
        on the left that do not count. features: of the images, (B, P, D), in the order of `Backbone.image_tokens`.
        """
        tokens = torch.cat([head, tail], dim=1)
        mask = torch.arange(tokens.shape[1], device=tokens.device) >= padding
        pixels = torch.cat(features, dim=1).flatten(0, 1)
        x = fill_placeholders(self.text.embedding(tokens), tokens == self.image_token, pixels)
        return self.text(in_memory(x), mask, tail.shape[1], [])


class ReadText(nn.Module):
    """`Backbone.extend` as a function of tensors."""

    def __init__(self, text: TextLayers) -> None:
        super().__init__()
        self.text = text

    def forward(
        self, tokens: Int64[Tensor, "B T"], new: Bool[Tensor, "B T"], past: Bool[Tensor, "B S"], *cached: Tensor
    ) -> list[Tensor]:
        """Returns see `TextLayers`. new, past: masks of these tokens and of those so far; cached: keys of each layer,
        then values."""
        mask = torch.cat([past, new], dim=1)
        return self.text(self.text.embedding(tokens), mask, tokens.shape[1], cached)


class TextLayers(nn.Module):
    """The text layers of a nano backbone."""

    def __init__(self, backbone: NanoBackbone) -> None:
        super().__init__()
        self.embedding, self.rotary = backbone.text.embed_tokens, backbone.text.rotary_emb
        self.layers = nn.ModuleList(TextLayer(cast(Qwen3DecoderLayer, layer)) for layer in backbone.text.layers)
        self.logits = fused([backbone.text.embed_tokens], backbone.text.norm.weight, exact=True)
        self.eps = backbone.text.norm.variance_epsilon

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T_all"], last: int, cached: Sequence[Tensor]
    ) -> list[Tensor]:
        """Returns the token (B, K) that is most likely after each of the last ones, then their states (B, K, D) after
        each layer, then the keys (B, h, T_all, d) of each layer, then the values.

        x: embeddings of the new tokens; mask: of all tokens so far; last: K; cached: keys of the tokens before, then
        values; none where there are none.
        """
        new, count = x.shape[1], len(self.layers)
        cos, sin = self.rotary(x, token_positions(mask, new))
        first, second = sin.chunk(2, dim=-1)
        turns = in_memory(torch.stack([cos, torch.cat([-first, second], dim=-1)])[:, :, None])
        hidden = in_memory(torch.where(causal_mask(mask, new), 0.0, torch.finfo(x.dtype).min).to(x.dtype))
        states, keys, values = [], [], []
        for index, layer in enumerate(self.layers):
            wanted = last if index + 1 == count else new
            before = (cached[index], cached[count + index]) if cached else ()
            x, key, value = layer(x, wanted, turns, hidden, *before)
            states.append(x[:, x.shape[1] - last :].contiguous())
            keys.append(key)
            values.append(value)
        following = self.logits(scaled(x, self.eps)).argmax(-1)
        return [following, *states, *keys, *values]


class TextLayer(nn.Module):
    """A decoder layer of Qwen3 whose heads share no keys."""

    def __init__(self, layer: Qwen3DecoderLayer) -> None:
        super().__init__()
        attention, mlp, scale = layer.self_attn, layer.mlp, layer.input_layernorm.weight
        self.width = attention.head_dim
        self.query = fused([attention.q_proj], scale)
        self.keys_values = fused([attention.k_proj, attention.v_proj], scale)
        self.query_scale = nn.Parameter(attention.q_norm.weight * self.width**-0.5, requires_grad=False)
        self.key_scale = attention.k_norm.weight
        self.out, self.down = fused([attention.o_proj]), fused([mlp.down_proj])
        self.gate_up = fused([mlp.gate_proj, mlp.up_proj], layer.post_attention_layernorm.weight)
        self.eps = layer.input_layernorm.variance_epsilon

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        last: int,
        turns: Float[Tensor, "2 B 1 T d"],
        hidden: Float[Tensor, "B 1 T T_all"],
        *before: Tensor,
    ) -> tuple[Float[Tensor, "B K D"], Float[Tensor, "B h T_all d"], Float[Tensor, "B h T_all d"]]:
        """States of the last tokens, and keys and values of all. before: keys and values of the tokens before."""
        first = x.shape[1] - last
        normed = scaled(x, self.eps)
        key, value = self.keys_values(normed).unflatten(2, (2, -1, self.width)).permute(2, 0, 3, 1, 4)
        key, value = turned(scaled(key, self.eps) * self.key_scale, turns), value.contiguous()
        if before:
            key, value = torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2)
        query = self.query(normed[:, first:]).unflatten(2, (-1, self.width)).transpose(1, 2)
        query = turned(scaled(query, self.eps) * self.query_scale, turns[:, :, :, first:])
        weights = (query @ key.transpose(-1, -2) + hidden[:, :, first:]).softmax(-1)
        x = x[:, first:] + self.out((weights @ value).transpose(1, 2).flatten(2))
        gate, up = self.gate_up(scaled(x, self.eps)).chunk(2, dim=-1)
        return x + self.down(nn.functional.silu(gate) * up), key, value


def scaled(x: Float[Tensor, "*N D"], eps: float) -> Float[Tensor, "*N D"]:
    """Root mean square normalisation without weights, in single precision."""
    single = x.float()
    return (single * torch.rsqrt(single.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def turned(x: Float[Tensor, "B h T d"], turns: Float[Tensor, "2 B 1 T d"]) -> Float[Tensor, "B h T d"]:
    """Rotary positions. turns: cosines, and sines whose first half is negative."""
    halves = x.unflatten(-1, (2, -1))
    return (halves * turns[0].unflatten(-1, (2, -1)) + halves.flip(-2) * turns[1].unflatten(-1, (2, -1))).flatten(-2)


class PatchProduct(nn.Module):
    """A convolution as one product of patches, with channels last: faster than a convolution for one image."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        (self.side, _), (self.stride, _), (self.padding, _) = conv.kernel_size, conv.stride, cast(Any, conv.padding)
        weight = conv.weight.detach().permute(2, 3, 1, 0).flatten(1, 2)  # side, side x channels, out
        self.row = max(MIN_ROW, weight.shape[1])
        weight = nn.functional.pad(weight, (0, 0, 0, self.row - weight.shape[1])).flatten(0, 1)
        self.product, self.bias = Product(weight, None), conv.bias

    def forward(self, x: Float[Tensor, "B H W C"]) -> Float[Tensor, "B h w D"]:
        # One row more below: the last rows of patches may reach into it.
        x = in_memory(nn.functional.pad(x.to(self.product.weight.dtype), (0, 0, *[self.padding] * 3, self.padding + 1)))
        rows, tall, wide, channels = x.shape
        height, width = (tall - 1 - self.side) // self.stride + 1, (wide - self.side) // self.stride + 1
        line = wide * channels
        patches = x.as_strided(
            (rows, height, width, self.side, self.row),
            (tall * line, self.stride * line, self.stride * channels, line, 1),
        )
        found = in_memory(self.product(in_memory(patches.clone()).flatten(0, 2).flatten(1)))
        return found.unflatten(0, (rows, height, width)) + self.bias


MIN_ROW = 16
"""Numbers that lie one behind the other in memory, which a processor copies at once."""


class ResidualPatches(nn.Module):
    """`ResidualConv` with channels last."""

    def __init__(self, block: ResidualConv) -> None:
        super().__init__()
        self.first, self.second = PatchProduct(block.first), PatchProduct(block.second)

    def forward(self, x: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W C"]:
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


def _by_patches(block: nn.Module) -> nn.Module:
    if isinstance(block, nn.Conv2d):
        return PatchProduct(block)
    return ResidualPatches(block) if isinstance(block, ResidualConv) else block
