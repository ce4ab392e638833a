"""A micro-batch without a training loop."""

from __future__ import annotations

import torch

from wla.training.trainer import StepLosses, Task


def take(task: Task, step: int, samples: int, generator: torch.Generator) -> StepLosses:
    return task.losses(step, task.draw(samples, generator), torch.device("cpu"), generator)
