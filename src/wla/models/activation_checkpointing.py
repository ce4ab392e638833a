"""Activation checkpointing: a block recomputes its activations in the backward pass instead of storing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def run_block(block: Callable[..., Any], *arguments: Any, activation_checkpointing: bool) -> Any:
    """The block's output; only its inputs are stored with `activation_checkpointing` while gradients are recorded."""
    if activation_checkpointing and torch.is_grad_enabled():
        return checkpoint(block, *arguments, use_reentrant=False)
    return block(*arguments)
