"""Fine-tuning of a finished policy's Action Expert: its text and images stay bit for bit what they are."""

from __future__ import annotations

import torch

from wla.batch import Batch
from wla.models import WLA, WLAConfig
from wla.models.experts.action_expert import Distillation
from wla.policy.checkpoint import CheckpointConfig
from wla.training.objective import StepLosses
from wla.training.objectives.configs import ActionExpertTrainConfig
from wla.training.objectives.policy_part import PolicyPartObjective


class ActionExpertObjective(PolicyPartObjective[ActionExpertTrainConfig]):
    """A `wla.training.trainer.Objective`. A single step that was not learned before is one of Euler at first."""

    minimised = ("action",)
    part = "action_expert"

    def model_config(self, before: WLAConfig) -> WLAConfig:
        return before.replace(action_expert=before.action_expert.replace(**self.config.expert_changes))

    def checkpoint_config(self, config: CheckpointConfig) -> CheckpointConfig:
        noise = self.config.action_noise
        return config if noise is None else config.replace(action_noise=noise)

    def begin(self, before: WLA, config: CheckpointConfig) -> None:
        if self.config.distill:
            teacher = before.action_expert.eval().requires_grad_(False)
            self.model.action_expert.distillation = Distillation(teacher, config.action_noise)

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        """The loss of text is logged too: it must not change."""
        if (distillation := self.model.action_expert.distillation) is not None:
            distillation.teacher.to(device)
        losses = self.policy_loss.terms(batch, device, generator)
        return {"loss": losses.pop("action"), "language": losses["language"]}, batch.ids
