"""Optimisers and learning rate schedule; the rate depends on the step alone, so resuming needs only the step."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from wla.training.configs import OptimConfig
from wla.training.muon import Muon


def build_optimizers(config: OptimConfig, module: nn.Module) -> list[torch.optim.Optimizer]:
    """Returns AdamW for most trained parameters and Muon for the matrices selected by `config.muon`.

    An optimiser without parameters is left out. Each parameter group stores its peak learning rate as "peak".
    ValueError when a pattern matches no trained matrix.
    """
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    matrices: dict[str, Tensor] = {}
    for pattern in config.muon:
        matching = {name: value for name, value in trained.items() if value.ndim == 2 and re.search(pattern, name)}
        if not matching:
            raise ValueError(f"optim.muon: {pattern!r} matches no matrix of the model; correct or remove it")
        matrices |= matching
    others = [value for name, value in trained.items() if name not in matrices]
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        optimizers.append(
            torch.optim.AdamW(
                others, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
            )
        )
    if matrices:
        muon = Muon(matrices.values(), lr=config.muon_learning_rate, momentum=0.95, weight_decay=config.weight_decay)
        muon.register_step_pre_hook(_gather)
        optimizers.append(muon)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _gather(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Gathers gradients and momenta for Muon: it orthogonalises whole matrices, and shards would be rounded
    differently."""
    for group in optimizer.param_groups:
        for value in group["params"]:
            if isinstance(value.grad, DTensor):
                value.grad = value.grad.redistribute(placements=[Replicate()])
                state = optimizer.state[value]
                if "momentum_buffer" in state:
                    state["momentum_buffer"] = state["momentum_buffer"].redistribute(placements=[Replicate()])


def schedule(config: OptimConfig, step: int) -> float:
    """Returns the factor of the peak learning rate at a step (counted from 0)."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    final = config.final_learning_rate / config.learning_rate
    return final + (1 - final) * cosine
