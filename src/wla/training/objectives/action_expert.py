"""Fine-tuning of a finished policy's Action Expert: its text and images stay bit for bit what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wla import runtime
from wla.batch import Batch
from wla.models import WLA
from wla.models.experts.action_expert import Distillation
from wla.policy import save_checkpoint
from wla.training.objective import StepLosses
from wla.training.objectives.configs import ActionExpertTrainConfig, PolicyDataConfig
from wla.training.objectives.finished_policy import finished_policy
from wla.training.objectives.mixture_objective import MixtureObjective


class ActionExpertObjective(MixtureObjective[ActionExpertTrainConfig]):
    """A `wla.training.trainer.Objective`."""

    minimised = ("action",)
    model: WLA

    def __init__(self, config: ActionExpertTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        super().__init__(config, config.loop)
        checkpoint, before = finished_policy(config.policy, self.data.datasets)
        expert = before.config.action_expert.replace(**config.expert_changes)
        # Without the World Expert: its images are not computed, and its weights are saved as they were.
        self.model = WLA(before.config.replace(action_expert=expert), imagination=False)
        self._before = before.state_dict()
        own = self.model.state_dict()
        # A single step that was not learned before is one of Euler at first.
        self.model.load_state_dict(own | {name: value for name, value in self._before.items() if name in own})
        self.model.requires_grad_(False)
        self.model.action_expert.requires_grad_(True)
        noise = checkpoint.config.action_noise if config.action_noise is None else config.action_noise
        if config.distill:
            teacher = before.action_expert.eval().requires_grad_(False)
            self.model.action_expert.distillation = Distillation(teacher, noise)
        changed = checkpoint.config.replace(model=self.model.config, action_noise=noise)
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

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        """The loss of text is logged too: it must not change."""
        if (distillation := self.model.action_expert.distillation) is not None:
            distillation.teacher.to(device)
        losses = self.policy_loss.terms(batch, device, generator)
        return {"loss": losses.pop("action"), "language": losses["language"]}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the Action Expert as it is now."""
        save_checkpoint(self.checkpoint, folder, weights=self._before | weights)
