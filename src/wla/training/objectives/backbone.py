"""Pretraining of the small backbone: contents of image patches, and questions about scenes with answers as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from wla import runtime
from wla.data.normalize import Statistics
from wla.data.prompts.nano import Prompter
from wla.models.backbones.nano import NanoBackbone
from wla.training.datasets import open_datasets
from wla.training.objective import BaseObjective, StepLosses
from wla.training.objectives.backbone_files import load_tokens_and_ranges, save_backbone
from wla.training.objectives.backbone_initialization import backbone_of, new_backbone
from wla.training.objectives.configs import BackboneTrainConfig
from wla.training.sampling import numpy_rng


class BackboneObjective(BaseObjective):
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: BackboneTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        self.scenes = config.render()
        datasets = open_datasets(config.datasets)
        texts = [text for dataset in datasets for text in (*dataset.instructions, *dataset.subtask_texts)]
        texts += config.texts(self.scenes)
        self._train_on(
            *(
                new_backbone(config.backbone, config.prompt, texts, datasets)
                if config.policy is None
                else backbone_of(config.policy, config.backbone, texts)
            )
        )

    def _train_on(self, backbone: NanoBackbone, tokenizer: PreTrainedTokenizerFast, statistics: Statistics) -> None:
        """Sets the backbone, and the tokens and ranges of its prompts."""
        self.backbone, self.tokenizer, self.statistics = backbone, tokenizer, statistics
        self.prompter = Prompter(self.config.prompt, tokenizer, backbone.image_tokens)
        self.grounding = self.config.objective(self.scenes, self.prompter, statistics.state, backbone)
        self._module = nn.ModuleDict({"backbone": backbone, "grounding": self.grounding})

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

    def resume(self, folder: Path) -> bool:
        computed = self.statistics
        self._train_on(self.backbone, *load_tokens_and_ranges(folder))
        return not self.statistics.agrees(computed)
