"""Attention for short sequences on a CPU, also registered with transformers under `NAME`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface

NAME = "wla_matmul"


def attend(
    query: Float[Tensor, "B h T d"],
    key: Float[Tensor, "B g S d"],
    value: Float[Tensor, "B g S d"],
    mask: Bool[Tensor, "B 1 T S"] | None = None,
    *,
    causal: bool = False,
) -> Float[Tensor, "B h T d"]:
    """Scaled dot-product attention, on a CPU as two matrix products; on accelerators, PyTorch's fused kernel.

    At 100 tokens in bf16, forward and backward on a CPU take a sixth of the fused kernel's time. Heads of keys and
    values that several heads of queries share (grouped-query attention) are not repeated where no mask is needed.

    Args:
        query: (B, h, T, d).
        key: (B, g, S, d), where g divides h.
        value: (B, g, S, d).
        mask: (B, 1, T, S), True where a query attends to a key, at least once in each row; None for everywhere.
        causal: with T = S and no mask, a query attends to the keys up to its own.

    Returns:
        (B, h, T, d).
    """
    if query.device.type != "cpu":
        return attend_fused(query, key, value, mask, causal=causal)
    if causal:
        mask = torch.ones(1, 1, *query.shape[2:3], *key.shape[2:3], dtype=torch.bool).tril()
    shared = (query.shape[0], key.shape[1], -1)
    scores = (query * query.shape[-1] ** -0.5).reshape(*shared, query.shape[-1]) @ key.transpose(-1, -2)
    if mask is not None:
        by_head = scores.view(*query.shape[:3], -1)
        scores = torch.where(mask, by_head, torch.finfo(scores.dtype).min).view_as(scores)
    return (scores.softmax(-1) @ value).view(*query.shape[:3], -1)


def attend_fused(
    query: Float[Tensor, "B h T d"],
    key: Float[Tensor, "B g S d"],
    value: Float[Tensor, "B g S d"],
    mask: Bool[Tensor, "B 1 T S"] | None = None,
    *,
    causal: bool = False,
) -> Float[Tensor, "B h T d"]:
    """`attend` as one kernel: on accelerators, and in compiled functions, which compute no gradients."""
    group = query.shape[1] // key.shape[1]
    if mask is not None and group > 1:  # the kernels that take a mask share no heads
        key, value, group = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1), 1
    return nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=group > 1
    )


def rotate(x: Float[Tensor, "B h T d"], cos: Float[Tensor, "T d"], sin: Float[Tensor, "T d"]) -> Tensor:
    """Rotary positions, applied to halves of each head."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def unfused_on_cpu(block: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """A library's block whose attention cannot be replaced, without the fused kernel on a CPU, as in `attend`.

    The fused kernel's backward pass is slow on a CPU.
    """
    if device.type != "cpu":
        return block

    def run(*arguments: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):  # inside the call, for recomputation in the backward pass
            return block(*arguments)

    return run


def _for_transformers(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **_: Any
) -> tuple[Tensor, None]:
    causal = attention_mask is None and query.shape[2] > 1
    return attend(query, key, value, attention_mask, causal=causal).transpose(1, 2), None


AttentionInterface.register(NAME, _for_transformers)
