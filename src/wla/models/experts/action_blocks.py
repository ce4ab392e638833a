"""Blocks of the Action Expert's network, and its encoders of numbers and times."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wla.models.attention import attend

KeysValues = tuple[Float[Tensor, "R h Q d"], Float[Tensor, "R h Q d"]]


class ExpertAttention(nn.Module):
    """Multi-head attention with biases; keys and values of a condition can be computed once and used many times."""

    def __init__(self, width: int, heads: int, source: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source, width)
        self.value = nn.Linear(source, width)
        self.out = nn.Linear(width, width)

    def keys_values(self, source: Float[Tensor, "B Q S"]) -> KeysValues:
        return self._split(self.key(source)), self._split(self.value(source))

    def forward(self, x: Float[Tensor, "B T D"], keys_values: KeysValues) -> Float[Tensor, "B T D"]:
        keys, values = keys_values
        attended = attend(self._split(self.query(x)), keys, values)
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B h T d"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class ExpertBlock(nn.Module):
    """Attention (to a condition, or to the tokens themselves) and an MLP, each after a LayerNorm without weights."""

    def __init__(self, width: int, heads: int, condition_width: int | None) -> None:
        super().__init__()
        self.is_cross_attention = condition_width is not None
        self.attention = ExpertAttention(width, heads, condition_width or width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def condition(self, states: Float[Tensor, "B Q C"]) -> KeysValues | None:
        """Keys and values of a condition, for a block that attends to one."""
        if not self.is_cross_attention:
            return None
        # Contiguous once here, or else every step of sampling would copy them.
        keys, values = self.attention.keys_values(states)
        return keys.contiguous(), values.contiguous()

    def forward(self, x: Float[Tensor, "B T D"], condition: KeysValues | None) -> Float[Tensor, "B T D"]:
        normed = nn.functional.layer_norm(x, x.shape[-1:])
        x = x + self.attention(normed, condition or self.attention.keys_values(normed))
        return x + self.mlp(nn.functional.layer_norm(x, x.shape[-1:]))


def relu_mlp(source: int, hidden: int, target: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(source, hidden), nn.ReLU(), nn.Linear(hidden, target))


def sinusoids(levels: int, width: int) -> Float[Tensor, "L D"]:
    """Sinusoidal features (levels, width) of the numbers from 0 on."""
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(width // 2, dtype=torch.float32) / (width // 2))
    angles = torch.arange(levels)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
