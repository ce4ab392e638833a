"""The connector: from backbone states to what the World Expert cross-attends to.

One bidirectional pre-norm encoder layer, then two linear layers and a norm; the same weights serve all
backbone layers.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wla.config import Config
from wla.models.attention import attend


class ConnectorConfig(Config):
    """Sizes (WLA-0: mlp 8192, head_width 64, out 2304)."""

    mlp: int
    head_width: int
    out: int
    rope_theta: float = 10_000.0


class Connector(nn.Module):
    """(B, K, D) backbone states -> (B, K, out) conditions."""

    def __init__(self, config: ConnectorConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.heads = width // config.head_width
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.query_norm, self.key_norm = (nn.RMSNorm(config.head_width, eps=1e-6) for _ in range(2))
        self.attention_out = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, eps=1e-6)
        self.gate, self.up = (nn.Linear(width, config.mlp, bias=False) for _ in range(2))
        self.down = nn.Linear(config.mlp, width, bias=False)
        self.final_norm = nn.RMSNorm(width, eps=1e-6)
        self.project = nn.Sequential(
            nn.Linear(width, config.out), nn.GELU(approximate="tanh"), nn.Linear(config.out, config.out)
        )
        self.out_norm = nn.RMSNorm(config.out, eps=1e-5)
        nn.init.constant_(self.out_norm.weight, math.sqrt(5.5))

    def forward(self, x: Float[Tensor, "B K D"]) -> Float[Tensor, "B K out"]:
        x = x + self._attend(self.attention_norm(x))
        normed = self.mlp_norm(x)
        x = x + self.down(nn.functional.silu(self.gate(normed)) * self.up(normed))
        return self.out_norm(self.project(self.final_norm(x)))

    def _attend(self, x: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        cos, sin = self._rotary(x.shape[1], x.device)
        # The norm over each head comes after the rotation here, unlike in Qwen3.
        query = self.query_norm(_rotate(query, cos, sin).to(value.dtype))
        key = self.key_norm(_rotate(key, cos, sin).to(value.dtype))
        answer = attend(query, key, value)
        return self.attention_out(answer.transpose(1, 2).flatten(2))

    def _rotary(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        half = self.config.head_width // 2
        inverse = self.config.rope_theta ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
        angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * inverse
        angles = torch.cat([angles, angles], dim=1)
        return angles.cos(), angles.sin()


def _rotate(x: Float[Tensor, "B h K d"], cos: Float[Tensor, "K d"], sin: Float[Tensor, "K d"]) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
