"""Training of the drafts for a finished policy's text: all that it answers stays bit for bit what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wla import runtime
from wla.batch import Batch
from wla.models import WLA
from wla.models.masked_drafter import MaskedDrafter
from wla.policy import save_checkpoint
from wla.training.objective import StepLosses, Validation
from wla.training.objectives.configs import MaskedDraftsTrainConfig, PolicyDataConfig
from wla.training.objectives.finished_policy import finished_policy
from wla.training.objectives.mixture_objective import MixtureObjective
from wla.training.sampling import to_device


class MaskedDraftsObjective(MixtureObjective[MaskedDraftsTrainConfig]):
    """A `wla.training.trainer.Objective`."""

    minimised = ("language",)
    model: WLA

    def __init__(self, config: MaskedDraftsTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        super().__init__(config, config.loop)
        checkpoint, before = finished_policy(config.policy, self.data.datasets)
        # Without the World Expert: its images are not computed, and its weights are saved as they were.
        self.model = WLA(before.config.replace(masked_drafts=config.masked_drafts), imagination=False)
        self._before = {name: weight for name, weight in before.state_dict().items() if not _is_drafters(name)}
        own = self.model.state_dict()
        self.model.load_state_dict(own | {name: weight for name, weight in self._before.items() if name in own})
        self.model.requires_grad_(False)
        self._drafter.requires_grad_(True)
        changed = checkpoint.config.replace(model=self.model.config)
        self.train_on(replace(checkpoint, config=changed, model=self.model))

    @property
    def window_config(self) -> PolicyDataConfig:
        config = self.config
        return PolicyDataConfig(
            datasets=config.datasets,
            instruction_dropout=config.instruction_dropout,
            memory_augmentation=config.memory_augmentation,
            cache_latents=config.cache_latents,  # refused: there is no codec
        )

    @property
    def module(self) -> nn.Module:
        return self.model

    @property
    def validation(self) -> Validation | None:
        found = super().validation
        return None if found is None else replace(found, compute_losses=self._held_out, weights={"drafts": 1.0})

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        return {"loss": self._loss(batch, device, generator)}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the drafter as it is now."""
        own = {name: weight for name, weight in weights.items() if _is_drafters(name)}
        save_checkpoint(self.checkpoint, folder, weights=self._before | own)

    def _held_out(
        self, batch: Batch, device: torch.device, generator: torch.Generator
    ) -> dict[str, tuple[Tensor, int]]:
        return {"drafts": (self._loss(batch, device, generator), len(batch.tokens))}

    def _loss(self, batch: Batch, device: torch.device, generator: torch.Generator) -> Tensor:
        return self._drafter.loss(self.model.backbone, to_device(batch, device), generator)

    @property
    def _drafter(self) -> MaskedDrafter:
        assert self.model.drafter is not None, "its configuration has one"
        return self.model.drafter


def _is_drafters(name: str) -> bool:
    return name.startswith("drafter.")
