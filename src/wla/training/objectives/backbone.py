"""Pretraining of the small backbone: contents of image patches, and questions about scenes with answers as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from wla import runtime
from wla.data.prompts.nano import PromptConfig, Prompter
from wla.models.backbones.nano import NanoBackboneConfig
from wla.training.datasets import open_datasets
from wla.training.grounding.source import GroundingSource
from wla.training.objectives.backbone_files import save_backbone
from wla.training.objectives.backbone_initialization import backbone_of, new_backbone
from wla.training.sampling import numpy_rng
from wla.training.trainer import LoopConfig, StepLosses


class BackboneTrainConfig(GroundingSource):
    """Recipe of a pretrained backbone. datasets: sources of the tokenizer's texts and of the state's range; folders of
    datasets too."""

    backbone: NanoBackboneConfig
    prompt: PromptConfig
    datasets: tuple[str, ...] = Field(min_length=1)
    policy: str | None = None
    """A finished policy whose backbone is trained further, its tokenizer with tokens for new texts; None: new ones."""
    vision_pretrain_steps: int = Field(default=1000, ge=0)
    """At the beginning only the vision stem is trained, on patches: five times as many samples per second."""
    loop: LoopConfig

    def build(self) -> BackboneObjective:
        return BackboneObjective(self)


class BackboneObjective:
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: BackboneTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        self.scenes = config.render()
        datasets = open_datasets(config.datasets)
        texts = [text for dataset in datasets for text in (*dataset.instructions, *dataset.subtask_texts)]
        texts += config.texts(self.scenes)
        self.backbone, self.tokenizer, self.statistics = (
            new_backbone(config.backbone, config.prompt, texts, datasets)
            if config.policy is None
            else backbone_of(config.policy, config.backbone, texts)
        )
        self.prompter = Prompter(config.prompt, self.tokenizer, self.backbone.image_tokens)
        self.grounding = config.objective(self.scenes, self.prompter, self.statistics.state, self.backbone)
        self._module = nn.ModuleDict({"backbone": self.backbone, "grounding": self.grounding})

    @property
    def module(self) -> nn.Module:
        return self._module

    def sample_batch(self, samples: int, generator: torch.Generator) -> tuple[int, np.random.Generator]:
        """Number of scenes, and the random numbers that choose them: the step decides which loss they serve."""
        return samples, numpy_rng(generator)

    def compute_losses(
        self, step: int, batch: tuple[int, np.random.Generator], device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        samples, rng = batch
        loss = self.grounding.patch_loss if step < self.config.vision_pretrain_steps else self.grounding.vqa_loss
        return loss(self.backbone, samples, device, rng)

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        save_backbone(folder, self.config, self.statistics, self.tokenizer, weights)
