"""Optimisers and learning rate schedule; the rate depends on the step alone, so resuming needs only the step."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from wla.config import Config
from wla.training.muon import Muon

_Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Config):
    """AdamW with linear warm-up and cosine decay, and Muon for selected matrices.

    Muon (orthogonalised momentum) suits small transformers trained from scratch: on the nano backbone it left the
    initial plateau, before any attention had formed, within 200 steps, where AdamW stayed for thousands.
    """

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"steps", "learning_rate", "final_learning_rate", "muon_learning_rate", "warmup", "weight_decay", "clip"}
    )

    steps: int = Field(ge=1)
    """Total number of steps."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak learning rate of AdamW."""
    final_learning_rate: float = Field(default=5e-6, ge=0)
    """Learning rate of AdamW at the end of the decay."""
    warmup: int = Field(default=1000, ge=0)
    """Steps of linear warm-up."""
    betas: tuple[_Beta, _Beta] = (0.9, 0.95)
    weight_decay: float = Field(default=1e-8, ge=0)
    clip: float = Field(default=1.0, gt=0)
    """Maximum norm of the gradient over all parameters."""
    muon: tuple[str, ...] = ()
    """Regular expressions; matrices whose name matches one of them are trained by Muon."""
    muon_learning_rate: float = Field(default=0.02, gt=0)
    """Peak learning rate of Muon, with the same warm-up and decay."""
    freeze: tuple[str, ...] = ()
    """Regular expressions; parameters whose name matches one of them are not trained."""

    @model_validator(mode="after")
    def _rates_decay(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate {self.final_learning_rate} is above the peak, {self.learning_rate} "
                "(learning_rate); lower it, or give both the same value for a constant rate"
            )
        return self


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
