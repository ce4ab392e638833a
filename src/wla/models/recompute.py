"""Trading time for memory: a block whose inside is computed again in the backward pass instead of being kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, *arguments: Any, recompute: bool) -> Any:
    """The block's output; with `recompute`, and while gradients are recorded, only its inputs are kept."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(block, *arguments, use_reentrant=False)
    return block(*arguments)
