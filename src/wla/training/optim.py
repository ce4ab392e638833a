"""The optimisers and their learning rate; the rate is a function of the step alone, so resuming needs only the step."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from wla.config import Config
from wla.training.muon import Muon


class OptimConfig(Config):
    """AdamW with linear warm-up and cosine decay, and Muon for the matrices that are named.

    Muon (orthogonalised momentum) suits small transformers that learn from scratch: on the nano backbone it leaves the
    plateau before any attention has formed within 200 steps, where AdamW stayed there for thousands.
    """

    steps: int = Field(ge=1)
    learning_rate: float = Field(default=5e-5, gt=0)
    final_learning_rate: float = 5e-6
    warmup: int = Field(default=1000, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 1e-8
    clip: float = 1.0
    """Largest norm of the whole gradient."""
    muon: tuple[str, ...] = ()
    """Regular expressions; matrices whose name one of them matches are trained by Muon."""
    muon_learning_rate: float = 0.02
    """Follows the same warm-up and decay."""
    freeze: tuple[str, ...] = ()
    """Regular expressions; parameters whose name one of them matches stay as they are."""


def freeze(module: nn.Module, patterns: tuple[str, ...]) -> None:
    """Stop training the parameters that a pattern matches. ValueError when one matches none, or nothing is left.

    Adapters are trained all the same, and a layer that has one keeps its name.
    """
    named = {
        name.replace(".base_layer", ""): value for name, value in module.named_parameters() if ".lora_" not in name
    }
    for pattern in patterns:
        found = [value for name, value in named.items() if re.search(pattern, name)]
        if not found:
            raise ValueError(f"optim.freeze: {pattern!r} matches no parameter of the model")
        for value in found:
            value.requires_grad_(False)
    if not any(value.requires_grad for value in module.parameters()):
        raise ValueError(f"optim.freeze: {list(patterns)} leave nothing to train; remove a pattern")


def build_optimizers(config: OptimConfig, module: nn.Module) -> list[torch.optim.Optimizer]:
    """One optimiser for each kind of parameter. ValueError when a pattern matches no matrix."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    matrices: dict[str, Tensor] = {}
    for pattern in config.muon:
        found = {name: value for name, value in trained.items() if value.ndim == 2 and re.search(pattern, name)}
        if not found:
            raise ValueError(f"optim.muon: {pattern!r} matches no matrix of the model")
        matrices |= found
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
    """Whole gradients and momenta for Muon: it orthogonalises them whole, and shards would be rounded differently."""
    for group in optimizer.param_groups:
        for value in group["params"]:
            if isinstance(value.grad, DTensor):
                value.grad = value.grad.redistribute(placements=[Replicate()])
                state = optimizer.state[value]
                if "momentum_buffer" in state:
                    state["momentum_buffer"] = state["momentum_buffer"].redistribute(placements=[Replicate()])


def schedule(config: OptimConfig, step: int) -> float:
    """The share of the peak learning rate at the step with this index, from 0."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    last = config.final_learning_rate / config.learning_rate
    return last + (1 - last) * cosine
