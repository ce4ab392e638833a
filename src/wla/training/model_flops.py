"""Model FLOPs: the operations of matrix products, convolutions and attention that a model needs, each counted once.

What activation checkpointing computes again is no progress and is left out, as in MFU (Chowdhery et al. 2022, PaLM,
appendix B).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from wla.models.activation_checkpointing import recomputing


class ModelFlops(TorchDispatchMode):
    """Context that counts the FLOPs of what runs in it, backward passes included. total: their number so far."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        count = flop_registry.get(func.overloadpacket)
        if count is None and torch.is_inference_mode_enabled():
            # There a linear layer arrives as one operation, which has no count of its own. Training is left as it is:
            # its first step, which is counted, has to give the same bits as all others.
            with self:
                parts = func.decompose(*args, **(kwargs or {}))
            if parts is not NotImplemented:
                return parts
        result = func(*args, **(kwargs or {}))
        if count is not None and not recomputing():
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result
