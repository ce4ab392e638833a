"""The script that each of two processes runs in test_distributed.py's test of blocks that are gathered in bfloat16."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from distributed_run import TinyPolicy, loop
from torch import Tensor, nn

from wla import runtime
from wla.training.trainer import train


def half_precision(device: torch.device) -> torch.dtype:
    """Replacement for `runtime.autocast_dtype`, whatever this processor has."""
    return torch.bfloat16


class WatchedPolicy(TinyPolicy):
    """Notes in which precision the weights of blocks and other weights are while the losses are computed."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.dtypes: set[tuple[str, torch.dtype]] = set()
        model = self.checkpoint.model
        for name, block in (("block", model.action_expert.blocks[0]), ("other", model.action_expert.decoder)):
            block.register_forward_hook(self._note(name))

    def _note(self, name: str):
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            self.dtypes |= {(name, weight.dtype) for weight in module.parameters()}

        return note


def main(root: Path) -> None:
    runtime.autocast_dtype = half_precision
    policy = WatchedPolicy(root / "data")
    with runtime.process_group():
        train(policy, loop(strategy="fsdp2"), root / "two in half precision")
    assert policy.dtypes == {("block", torch.bfloat16), ("other", torch.float32)}, policy.dtypes


if __name__ == "__main__":
    main(Path(sys.argv[1]))
