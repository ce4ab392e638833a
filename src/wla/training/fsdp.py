"""Several processes train one module: PyTorch's FSDP2 spreads its parameters, gradients and moments over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from wla import runtime
from wla.models.experts.action_expert import ExpertBlock

FSDP_FORWARD_METHODS: Mapping[type[nn.Module], tuple[str, ...]] = {ExpertBlock: ("condition",)}
"""Methods besides `forward` through which a model calls its blocks; its shards are gathered then."""


class LossModule(nn.Module):
    """The losses of a step as the forward pass of one module.

    Models are called through methods of many names, and FSDP gathers shards around forward passes only. So what belongs
    to no block is gathered around this one.
    """

    def __init__(self, module: nn.Module, compute_losses: Callable[..., Any]) -> None:
        super().__init__()
        self.module = module
        self._compute_losses = compute_losses

    def forward(self, *arguments: object) -> Any:
        return self._compute_losses(*arguments)


def shard(loss_module: LossModule, device: torch.device) -> None:
    """Shard the module over the processes, each block a unit of its own. A single process keeps it as it is.

    All processes must go through the same blocks in every step, or they wait for each other forever.
    """
    if runtime.world_size() == 1:
        return
    mesh = init_device_mesh(device.type, (runtime.world_size(),))
    for block in repeated_blocks(loss_module):
        fully_shard(block, mesh=mesh)
        for kind, names in FSDP_FORWARD_METHODS.items():
            if isinstance(block, kind):
                for name in names:
                    register_fsdp_forward_method(block, name)
    fully_shard(loss_module, mesh=mesh)


def repeated_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of every list of modules, outermost lists only: they are what a deep network repeats."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            for member in child:
                if any(True for _ in member.parameters()):
                    yield member
        else:
            yield from repeated_blocks(child)


def gather(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the first process all tensors, whole and on the CPU; nothing on the others, who must call this too."""
    found = {}
    for name, tensor in tensors.items():
        gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if runtime.rank() == 0:
            found[name] = gathered.detach().cpu()
    return found
