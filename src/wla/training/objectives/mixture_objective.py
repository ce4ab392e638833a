"""What objectives have in common whose loss is that of a policy's model on a mixture of datasets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

import torch

from wla.batch import Batch
from wla.data.loader import WindowSampler
from wla.policy.checkpoint import Checkpoint, with_data_of
from wla.training.objective import Validation
from wla.training.objectives.policy_data import MixtureConfig, PolicyData
from wla.training.objectives.policy_loss import PolicyLoss

ConfigT = TypeVar("ConfigT", bound=MixtureConfig)


class MixtureObjective(ABC, Generic[ConfigT]):
    """Data, batches and held-out loss of a `wla.training.trainer.Objective` with this configuration.

    checkpoint: in whose units and tokens the data are. policy_loss: the loss on them, see `loss`.
    """

    checkpoint: Checkpoint
    policy_loss: PolicyLoss

    def __init__(self, config: ConfigT) -> None:
        self.config = config
        self.data = PolicyData.open(config)

    @abstractmethod
    def windows(self, data: PolicyData, *, held_out: bool = False) -> WindowSampler:
        """Returns the windows of these data to train on, or those of their held-out episodes."""

    @abstractmethod
    def loss(self, windows: WindowSampler) -> PolicyLoss:
        """Returns the loss on windows."""

    def train_on(self, checkpoint: Checkpoint) -> None:
        """Sets the checkpoint, in whose units and tokens the data are from now on."""
        self.checkpoint = checkpoint
        self.policy_loss = self.loss(self.windows(self.data))

    @property
    def description(self) -> str:
        return self.policy_loss.description

    @property
    def validation(self) -> Validation | None:
        data = self.data.held_out(self.config)
        return None if data is None else self.policy_loss.validation(self.windows(data, held_out=True))

    def sample_batch(self, samples: int, generator: torch.Generator) -> Batch:
        return self.policy_loss.sample_batch(samples, generator)

    def resume(self, folder: Path) -> bool:
        known = with_data_of(self.checkpoint, folder)
        changed = not known.statistics.agrees(self.checkpoint.statistics)
        self.train_on(known)
        return changed
