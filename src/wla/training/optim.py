"""The optimiser and its learning rate; the rate is a function of the step alone, so resuming needs only the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from wla.config import Config


class OptimConfig(Config):
    """AdamW with linear warm-up and cosine decay."""

    steps: int
    learning_rate: float = 5e-5
    final_learning_rate: float = 5e-6
    warmup: int = 1000
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 1e-8
    clip: float = 1.0
    """Largest norm of the whole gradient."""


def build_optimizer(config: OptimConfig, module: nn.Module) -> torch.optim.AdamW:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )


def learning_rate(config: OptimConfig, step: int) -> float:
    """Rate of the step with this index, from 0."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine
