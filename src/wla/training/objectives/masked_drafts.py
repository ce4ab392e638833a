"""Training of the drafts for a finished policy's text: all that it answers stays bit for bit what it is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from wla.batch import Batch
from wla.models import WLAConfig
from wla.training.objective import StepLosses, Validation
from wla.training.objectives.configs import MaskedDraftsTrainConfig
from wla.training.objectives.policy_part import PolicyPartObjective
from wla.training.sampling import to_device


class MaskedDraftsObjective(PolicyPartObjective[MaskedDraftsTrainConfig]):
    """A `wla.training.trainer.Objective`."""

    minimised = ("language",)
    part = "drafter"

    def model_config(self, before: WLAConfig) -> WLAConfig:
        return before.replace(masked_drafts=self.config.masked_drafts)

    @property
    def validation(self) -> Validation | None:
        found = super().validation
        return None if found is None else replace(found, compute_losses=self._held_out, weights={"drafts": 1.0})

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        return {"loss": self._loss(batch, device, generator)}, batch.ids

    def _held_out(
        self, batch: Batch, device: torch.device, generator: torch.Generator
    ) -> dict[str, tuple[Tensor, int]]:
        return {"drafts": (self._loss(batch, device, generator), len(batch.tokens))}

    def _loss(self, batch: Batch, device: torch.device, generator: torch.Generator) -> Tensor:
        assert self.model.drafter is not None, "its configuration has one"
        return self.model.drafter.loss(self.model.backbone, to_device(batch, device), generator)
