"""Trading time for memory: a block whose inside is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def run_block(block: Callable[..., Any], *arguments: Any, activation_checkpointing: bool) -> Any:
    """The block's output; with `activation_checkpointing`, and while gradients are recorded, only its inputs are kept."""
    if activation_checkpointing and torch.is_grad_enabled():
        return checkpoint(block, *arguments, use_reentrant=False)
    return block(*arguments)
