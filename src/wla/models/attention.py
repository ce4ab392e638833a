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
    key: Float[Tensor, "B h S d"],
    value: Float[Tensor, "B h S d"],
    mask: Bool[Tensor, "B 1 T S"] | None = None,
) -> Float[Tensor, "B h T d"]:
    """Scaled dot-product attention, on a CPU as two matrix products; on accelerators, PyTorch's fused kernel.

    At 100 tokens in bf16, forward and backward on a CPU take a sixth of the fused kernel's time. A row without any key
    gives zeros, as in that kernel.

    Args:
        query: (B, h, T, d).
        key: (B, h, S, d).
        value: (B, h, S, d).
        mask: (B, 1, T, S), True where a query attends to a key; None for everywhere.

    Returns:
        (B, h, T, d).
    """
    if query.device.type != "cpu":
        return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is None:
        return scores.softmax(-1) @ value
    attended = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1) @ value
    return attended.masked_fill(~mask.any(-1, keepdim=True), 0)


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
    group_size = query.shape[1] // key.shape[1]
    if group_size > 1:  # grouped-query attention: several query heads share one head of keys and values
        key, value = (x.repeat_interleave(group_size, dim=1) for x in (key, value))
    return attend(query, key, value, attention_mask).transpose(1, 2), None


AttentionInterface.register(NAME, _for_transformers)
