"""Training a value model on rollouts, failures included: the discounted return of each frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wla import runtime
from wla.policy.value_checkpoint import load_value
from wla.training.objective import BaseObjective, StepLosses
from wla.training.objectives.configs import ValueTrainConfig
from wla.training.objectives.value_data import ValueBatch, ValueData
from wla.training.objectives.value_initialization import value_of


class ValueObjective(BaseObjective):
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: ValueTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        self.config = config
        self.value = value_of(config.policy, config.discount)
        self.data = ValueData(self.value, config.datasets)

    @property
    def module(self) -> nn.Module:
        return self.value.model

    def sample_batch(self, samples: int, generator: torch.Generator) -> ValueBatch:
        return self.data.sample_batch(samples, generator)

    def compute_losses(
        self, step: int, batch: ValueBatch, device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        tokens, mask, times, images, values = (part.to(device) for part in batch[:-1])
        logits = self.value.model(tokens, mask, {self.value.image: images}, times)
        loss = self.value.model.loss(logits, values)
        absolute_error = (logits.detach().sigmoid() - values).abs().mean()
        return {"loss": loss, "absolute_error": absolute_error}, batch.names

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        self.value.save(folder, weights)

    def resume(self, folder: Path) -> bool:
        """The policy that it started from may have other tokens by now; there are no ranges."""
        stored = load_value(folder)
        if stored.config != self.value.config:
            raise ValueError(f"{folder}: has another model than the recipe gives now; resume what it was made of")
        self.value = replace(self.value, tokenizer=stored.tokenizer)
        self.data = ValueData(self.value, self.config.datasets)
        return False
