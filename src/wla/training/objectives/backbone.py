"""The small backbone's head start: what is where in each patch, and questions about scenes, answered in words."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.data.normalize import Statistics, compute_statistics
from wla.data.prompts.nano import CURRENT_PREFIX, FINISHED_PREFIX, PromptConfig, Prompter
from wla.data.prompts.tokenizer import extend_tokenizer, load_tokenizer, save_tokenizer, train_tokenizer
from wla.files import atomic_dir
from wla.models.backbones.nano import NanoBackbone, NanoBackboneConfig
from wla.policy.checkpoint import load_checkpoint
from wla.policy.hub import bundled, resolve
from wla.training.datasets import open_datasets
from wla.training.grounding.objective import Grounding
from wla.training.grounding.questions import question_texts
from wla.training.grounding.scenes import SceneConfig, render_scenes
from wla.training.sampling import numpy_rng
from wla.training.trainer import LoopConfig, StepLosses
from wla.weights import load_weights, save_weights, strip_prefix

CONFIG, WEIGHTS, TOKENIZER, STATISTICS = "base.json", "base.safetensors", "tokenizer.json", "statistics.json"
GROUNDING = "grounding.safetensors"
"""The heads of the lesson, for those who go on with it."""


class BackboneTrainConfig(Config):
    """Recipe of a base. datasets: where the words of the tokenizer and the range of the state come from; folders of
    datasets too."""

    backbone: NanoBackboneConfig
    prompt: PromptConfig
    scenes: SceneConfig
    scenes_folder: str
    datasets: tuple[str, ...]
    policy: str | None = None
    """A finished policy whose backbone goes on, its tokenizer with words for what is new, in place of new ones."""
    workers: int = 2
    vision_pretrain_steps: int = 1000
    """At the beginning only the vision stem is trained, on patches: five times as many samples per second."""
    loop: LoopConfig

    def build(self) -> BackboneObjective:
        return BackboneObjective(self)


class BackboneObjective:
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: BackboneTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        self.scenes = render_scenes(config.scenes, Path(config.scenes_folder), workers=config.workers)
        datasets = open_datasets(config.datasets)
        texts = [text for dataset in datasets for text in (*dataset.instructions, *dataset.subtask_texts)]
        texts += question_texts(self.scenes.names, self.scenes.labels)
        self.backbone = NanoBackbone(config.backbone)
        if config.policy is None:
            self.statistics = compute_statistics(datasets)
            self.tokenizer = train_tokenizer(
                texts,
                queries=config.prompt.queries,
                locations=config.prompt.locations,
                size=config.backbone.vocabulary,
            )
        else:
            before = load_checkpoint(resolve(config.policy), imagination=False)
            if before.config.model.backbone != config.backbone:
                raise ValueError(f"policy {config.policy} has another backbone than the recipe; correct one")
            self.backbone.load_state_dict(before.model.backbone.state_dict())
            self.tokenizer = extend_tokenizer(
                before.tokenizer, [*texts, FINISHED_PREFIX, CURRENT_PREFIX], size=config.backbone.vocabulary
            )
            self.statistics = before.statistics  # location words keep their meaning
        self.prompter = Prompter(config.prompt, self.tokenizer, self.backbone.image_tokens)
        self.grounding = Grounding(self.scenes, self.prompter, self.statistics.state, self.backbone)
        self._module = nn.ModuleDict({"backbone": self.backbone, "grounding": self.grounding})

    @property
    def module(self) -> nn.Module:
        return self._module

    def sample_batch(self, samples: int, generator: torch.Generator) -> tuple[int, np.random.Generator]:
        """How many scenes, and the random numbers that choose them: which lesson they serve follows from the step."""
        return samples, numpy_rng(generator)

    def compute_losses(
        self, step: int, batch: tuple[int, np.random.Generator], device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        samples, rng = batch
        lesson = self.grounding.patch_loss if step < self.config.vision_pretrain_steps else self.grounding.vqa_loss
        return lesson(self.backbone, samples, device, rng)

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        with atomic_dir(folder) as fresh:
            self.config.save(fresh / CONFIG)
            self.statistics.save(fresh / STATISTICS)
            save_tokenizer(self.tokenizer, fresh / TOKENIZER)
            save_weights(strip_prefix("backbone.", weights), fresh / WEIGHTS)
            save_weights(strip_prefix("grounding.", weights), fresh / GROUNDING)


class PretrainedBackbone(NamedTuple):
    """A trained base: where it lies, its recipe, backbone, prompter and the statistics of its data."""

    folder: Path
    config: BackboneTrainConfig
    backbone: NanoBackbone
    prompter: Prompter
    statistics: Statistics

    def grounding(self) -> Grounding:
        """The lesson as far as it came, its scenes rendered if need be.

        It must not begin anew: heads that know nothing pull the vision stem away from what it has learned.
        """
        scenes = render_scenes(self.config.scenes, Path(self.config.scenes_folder), workers=self.config.workers)
        grounding = Grounding(scenes, self.prompter, self.statistics.state, self.backbone)
        load_weights(grounding, self.folder / GROUNDING)
        return grounding


def load_backbone(name: str | Path) -> PretrainedBackbone:
    """A trained base, by bundled name or folder. ValueError when there is none."""
    folder = bundled().get(str(name), Path(name))
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no base here; train one first (`wla train nano_base`)")
    config = BackboneTrainConfig.load(folder / CONFIG)
    backbone = NanoBackbone(config.backbone)
    load_weights(backbone, folder / WEIGHTS)
    prompter = Prompter(config.prompt, load_tokenizer(folder / TOKENIZER), backbone.image_tokens)
    return PretrainedBackbone(folder, config, backbone, prompter, Statistics.load(folder / STATISTICS))
