"""What objectives have in common whose loss is that of a policy's model on a mixture of datasets."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from wla.batch import Batch
from wla.data.loader import WindowSampler
from wla.models.model import PolicyModel
from wla.policy.checkpoint import Checkpoint, with_data_of
from wla.policy.prompt_tokens import require_tokens
from wla.training.configs import LoopConfig
from wla.training.objective import BaseObjective, Validation
from wla.training.objectives.configs import MixtureConfig, PolicyDataConfig
from wla.training.objectives.policy_data import PolicyData
from wla.training.objectives.policy_loss import PolicyLoss

ConfigT = TypeVar("ConfigT", bound=MixtureConfig)


class MixtureObjective(BaseObjective, ABC, Generic[ConfigT]):
    """Data, batches and held-out loss of a `wla.training.trainer.Objective` with this configuration.

    model: what is trained. checkpoint: in whose units and tokens the data are. minimised: the loss terms that are
    trained; None: all with a weight. with_subgoal: every window has a frame to predict.
    """

    minimised: ClassVar[Sequence[str] | None] = None
    with_subgoal: ClassVar[bool] = False
    model: PolicyModel[Any]
    checkpoint: Checkpoint

    def __init__(self, config: ConfigT, loop: LoopConfig) -> None:
        self.config, self._loop = config, loop
        self.data = PolicyData.open(config)

    @property
    def window_config(self) -> PolicyDataConfig:
        """How windows are sampled."""
        config = self.config
        return PolicyDataConfig(
            datasets=config.datasets,
            instruction_dropout=config.instruction_dropout,
            cache_latents=config.cache_latents,
        )

    def train_on(self, checkpoint: Checkpoint) -> None:
        """Sets the checkpoint, in whose units and tokens the data are from now on. ValueError where the model lacks
        tokens of its prompts."""
        require_tokens(self.model.config, checkpoint.prompter)
        self.checkpoint = checkpoint
        self.policy_loss = PolicyLoss(self.model, self._windows(self.data), self._loop, self.minimised)

    @property
    def description(self) -> str:
        return self.policy_loss.description

    @property
    def validation(self) -> Validation | None:
        data = self.data.held_out(self.config)
        return None if data is None else self.policy_loss.validation(self._windows(data, held_out=True))

    def sample_batch(self, samples: int, generator: torch.Generator) -> Batch:
        return self.policy_loss.sample_batch(samples, generator)

    def resume(self, folder: Path) -> bool:
        known = with_data_of(self.checkpoint, folder)
        pairs = zip(known.robots, self.checkpoint.robots, strict=True)
        changed = not all(before.statistics.agrees(now.statistics) for before, now in pairs)
        self.train_on(known)
        return changed

    def _windows(self, data: PolicyData, *, held_out: bool = False) -> WindowSampler:
        config = self.window_config
        return data.windows(self.checkpoint, config, with_subgoal=self.with_subgoal, held_out=held_out)
