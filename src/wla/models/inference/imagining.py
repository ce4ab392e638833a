"""The World Expert as functions of tensors: what all steps share, and the velocity of a step; images to latents and
back.

Keys and values of the condition are computed once for all steps. Latents have channels last, so that the layers of a
block are products, and what follows them is one loop.
"""

from __future__ import annotations

from typing import cast

import torch
from diffusers.models.transformers.sana_transformer import SanaTransformerBlock
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wla.models.attention import attend
from wla.models.experts.world_expert import WorldExpert
from wla.models.image_codec import ImageCodec
from wla.models.inference.layout import Product, fused, in_memory, with_products
from wla.models.solver import TIMESTEPS


class StartImages(nn.Module):
    """The condition of the blocks, from the query states that `WorldExpert.query_states` returns."""

    def __init__(self, expert: WorldExpert) -> None:
        super().__init__()
        self.connector = with_products(expert.connector)
        self.projection = with_products(expert.sana.caption_projection)
        self.norm = expert.sana.caption_norm
        attentions = [cast(SanaTransformerBlock, block).attn2 for block in expert.sana.transformer_blocks]
        self.heads = attentions[0].heads
        self.keys_values = nn.ModuleList(fused([attention.to_k, attention.to_v]) for attention in attentions)

    def forward(self, image: Float[Tensor, "B P D"], *query_hidden: Tensor) -> list[Tensor]:
        """Keys and values (B, 2 h, K, d) of each block. image: the current image's tokens; query_hidden: states
        (B, Q, D) of the queries in the layers that the blocks read."""
        layers = torch.stack(query_hidden)
        tokens = torch.cat([image.expand(len(layers), -1, -1, -1), layers], dim=2).flatten(0, 1)
        states = self.norm(self.projection(self.connector(tokens))).unflatten(0, (len(layers), -1))
        found = []
        for keys_values, read in zip(self.keys_values, states.unbind(0), strict=True):
            pairs = keys_values(read).unflatten(2, (2 * self.heads, -1)).transpose(1, 2)
            found.append(pairs.contiguous())
        return found


class ImageVelocity(nn.Module):
    """`WorldExpert.velocity`; every row of a batch is at the same noise level."""

    def __init__(self, expert: WorldExpert) -> None:
        super().__init__()
        sana, self.side = expert.sana, expert.config.latent_size
        self.patch = pointwise(sana.patch_embed.proj)
        positions = sana.patch_embed.pos_embed
        self.positions = None if positions is None else nn.Parameter(positions[0], requires_grad=False)
        blocks = (cast(SanaTransformerBlock, block) for block in sana.transformer_blocks)
        self.blocks = nn.ModuleList(ImageBlock(block, self.side) for block in blocks)
        self.table, self.out = sana.scale_shift_table, fused([sana.proj_out])

    def forward(self, x: Float[Tensor, "R C h w"], level: Float[Tensor, "7 D"], *condition: Tensor) -> list[Tensor]:
        """Returns the velocity (R, C', h, w).

        x: noisy latents, with the current frame's behind them where it is an input. level: see `level_features`.
        condition: from `StartImages`.
        """
        tokens = self.patch(in_memory(x.to(level.dtype).flatten(2).transpose(1, 2)))
        if self.positions is not None:
            tokens = tokens + self.positions
        for block, keys_values in zip(self.blocks, condition, strict=True):
            tokens = block(tokens, level[:6], keys_values)
        shift, scale = (self.table + level[6:]).unbind(0)
        found = self.out(modulated(tokens, shift, scale))
        return [found.transpose(1, 2).unflatten(2, (self.side, self.side)).contiguous()]


class ImageBlock(nn.Module):
    """A block of the World Expert."""

    def __init__(self, block: SanaTransformerBlock, side: int) -> None:
        super().__init__()
        own, cross, mlp = block.attn1, block.attn2, block.ff
        self.heads, self.cross_heads, self.side = own.heads, cross.heads, side
        self.table = block.scale_shift_table
        self.project, self.own_out = fused([own.to_q, own.to_k, own.to_v]), fused([own.to_out[0]])
        self.query, self.cross_out = fused([cross.to_q]), fused([cross.to_out[0]])
        self.widen, self.narrow = pointwise(mlp.conv_inverted), pointwise(mlp.conv_point)
        weight = mlp.conv_depth.weight.detach()[:, 0].permute(1, 2, 0).contiguous()
        self.depth, self.depth_bias = nn.Parameter(weight, requires_grad=False), mlp.conv_depth.bias

    def forward(
        self, x: Float[Tensor, "R T D"], level: Float[Tensor, "6 D"], keys_values: Float[Tensor, "R H K d"]
    ) -> Float[Tensor, "R T D"]:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = (self.table + level).unbind(0)
        x = x + gate * self.own(modulated(x, shift, scale))
        query = self.query(x).unflatten(2, (self.cross_heads, -1)).transpose(1, 2)
        attended = attend(query, *keys_values.unflatten(1, (2, -1)).unbind(1))
        x = x + self.cross_out(attended.transpose(1, 2).flatten(2))
        return x + mlp_gate * self.mlp(modulated(x, mlp_shift, mlp_scale))

    def own(self, x: Float[Tensor, "R T D"]) -> Float[Tensor, "R T D"]:
        """Linear attention among the tokens, in single precision."""
        heads = self.project(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).float()
        query, key, value = in_memory(heads).unbind(0)
        query, key = query.relu(), key.relu()
        scale = (query * key.sum(2, keepdim=True)).sum(-1, keepdim=True) + 1e-15
        attended = query @ (key.transpose(2, 3) @ value) / scale
        return self.own_out(attended.transpose(1, 2).flatten(2).to(x.dtype))

    def mlp(self, x: Float[Tensor, "R T D"]) -> Float[Tensor, "R T D"]:
        """Gated, with a convolution of 3 x 3 in each channel."""
        side = self.side
        wide = nn.functional.silu(self.widen(x)).unflatten(1, (side, side))
        padded = in_memory(nn.functional.pad(wide, (0, 0, 1, 1, 1, 1)))
        parts = (padded[:, i : i + side, j : j + side] * self.depth[i, j] for i in range(3) for j in range(3))
        value, gate = sum(parts, self.depth_bias).chunk(2, dim=-1)
        return self.narrow((value * nn.functional.silu(gate)).flatten(1, 2))


class EncodeImage(nn.Module):
    """`ImageCodec.encode`."""

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, images: UInt8[Tensor, "B H W 3"]) -> list[Float[Tensor, "B C h w"]]:
        return [self.codec.encode(images)]


class DecodeImage(nn.Module):
    """`ImageCodec.decode`."""

    def __init__(self, codec: ImageCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, latents: Float[Tensor, "B C h w"]) -> list[UInt8[Tensor, "B H W 3"]]:
        return [self.codec.decode(latents).contiguous()]


def pointwise(conv: nn.Conv2d) -> Product:
    """A convolution of 1 x 1 as a product, with channels last."""
    return Product(conv.weight.flatten(1).t(), conv.bias)


def modulated(x: Float[Tensor, "R T D"], shift: Float[Tensor, " D"], scale: Float[Tensor, " D"]) -> Tensor:
    """A norm without weights, then scale and shift."""
    return nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


@torch.inference_mode()
def level_features(expert: WorldExpert, level: float) -> Float[Tensor, "7 D"]:
    """What a noise level adds to the modulations of a block, and to that of the output."""
    sana = expert.sana
    timestep = torch.tensor([level]) * TIMESTEPS
    modulation, embedded = sana.time_embed(timestep, batch_size=1, hidden_dtype=sana.dtype)
    return torch.cat([modulation.unflatten(1, (6, -1))[0], embedded])
