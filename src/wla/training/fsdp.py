"""Sharded training with PyTorch's FSDP2: parameters, gradients and optimiser state are sharded over the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from wla import runtime
from wla.models.experts.action_blocks import ExpertBlock
from wla.models.experts.joint_expert import JointBlock

FSDP_FORWARD_METHODS: Mapping[type[nn.Module], tuple[str, ...]] = {
    ExpertBlock: ("condition",),
    JointBlock: ("condition",),
}
"""Methods other than `forward` through which models call their blocks; FSDP gathers shards for these too."""


class LossModule(nn.Module):
    """A wrapper whose forward pass computes the losses of a micro-batch.

    FSDP gathers shards around forward passes only, but models are called through methods of many names. So parameters
    outside of all blocks are gathered around this module's forward pass.
    """

    def __init__(self, module: nn.Module, compute_losses: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self._compute_losses = compute_losses

    def forward(self, *arguments: object, compute_losses: Callable[..., Any] | None = None) -> Any:
        """compute_losses: those on held-out episodes, say, instead of the training losses."""
        return (compute_losses or self._compute_losses)(*arguments)


def shard(loss_module: LossModule, device: torch.device) -> None:
    """Shards the module over the processes, each block as its own unit. A single process leaves it unchanged.

    Shards and sums of gradients are float32. Blocks are gathered in the precision that they compute in: half of what
    travels and of what a gathered block occupies, and no cast in each product. What belongs to no block stays float32.
    All processes must run the same blocks in every step, or they wait for each other forever.
    """
    if runtime.world_size() == 1:
        return
    mesh = init_device_mesh(device.type, (runtime.world_size(),))
    computed = MixedPrecisionPolicy(
        param_dtype=runtime.autocast_dtype(device), reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in repeated_blocks(loss_module):
        fully_shard(block, mesh=mesh, mp_policy=computed)
        for block_type, names in FSDP_FORWARD_METHODS.items():
            if isinstance(block, block_type):
                for name in names:
                    register_fsdp_forward_method(block, name)
    fully_shard(loss_module, mesh=mesh)


def reshard(loss_module: LossModule) -> None:
    """Shards again what a forward pass without a backward pass has left gathered."""
    for part in loss_module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def repeated_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yields the members with parameters of every outermost ModuleList: the repeated blocks of a deep network."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            for member in child:
                if any(True for _ in member.parameters()):
                    yield member
        else:
            yield from repeated_blocks(child)


def gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns unsharded copies of all tensors on the CPU on rank zero, an empty dict on the other ranks.

    All processes must call it.
    """
    gathered = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if runtime.rank() == 0:
            gathered[name] = full.detach().cpu()
    return gathered
