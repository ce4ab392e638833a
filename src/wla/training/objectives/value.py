"""Training a value model on rollouts, failures included: the discounted return of each frame."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.policy.value_checkpoint import load_value
from wla.training.objective import BaseObjective, LoopConfig, StepLosses
from wla.training.objectives.value_data import ValueBatch, ValueData
from wla.training.objectives.value_initialization import value_of


class ValueTrainConfig(Config):
    """Recipe of a value model."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop"})

    policy: str
    """A checkpoint whose backbone the value model starts from, with the camera whose future it predicts."""
    datasets: tuple[str, ...] = Field(min_length=1)
    """Rollouts: folders of datasets whose episodes record whether they succeeded (`wla collect --policy`)."""
    discount: float = Field(default=0.98, gt=0, lt=1)
    """See `ValueConfig`."""
    loop: LoopConfig

    def build(self) -> ValueObjective:
        return ValueObjective(self)


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
        logits = self.value.model(tokens, mask, {self.value.camera: images}, times)
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
