"""A pretrained nano backbone, loaded to initialise a policy or to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import init_empty_weights

from wla.data.normalize import Statistics
from wla.data.prompts.nano import Prompter
from wla.data.prompts.tokenizer import load_tokenizer
from wla.models.backbones.nano import NanoBackbone
from wla.policy.hub import local_folder
from wla.run_folder import read_checkpoint
from wla.training.grounding.objective import Grounding
from wla.training.objectives.backbone import BackboneTrainConfig
from wla.training.objectives.backbone_files import CONFIG, GROUNDING, STATISTICS, TOKENIZER, WEIGHTS
from wla.weights import COPY_WHOLE_FOLDER, load_weights, require_fit


class PretrainedBackbone(NamedTuple):
    """A pretrained backbone: its folder, recipe, weights, prompter and the statistics of its data."""

    folder: Path
    config: BackboneTrainConfig
    backbone: NanoBackbone
    prompter: Prompter
    statistics: Statistics

    def grounding(self) -> Grounding:
        """The grounding objective as far as pretraining brought it, its scenes rendered if need be.

        It must not start from new heads: random ones pull the vision stem away from what it has learned.
        """
        scenes = self.config.render()
        grounding = self.config.objective(scenes, self.prompter, self.statistics.state, self.backbone)
        load_weights(grounding, self.folder / GROUNDING)
        return grounding


def load_backbone(name: str | Path) -> PretrainedBackbone:
    """A pretrained backbone, by bundled name or folder. ValueError when there is none."""
    return read_checkpoint(lambda: local_folder(name), _read)


def _read(folder: Path) -> PretrainedBackbone:
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no pretrained backbone here; train one first (`wla train nano_base`)")
    config = BackboneTrainConfig.load(folder / CONFIG)
    with torch.random.fork_rng(devices=[]), init_empty_weights():
        require_fit(NanoBackbone(config.backbone), folder / WEIGHTS)
    # Built with random weights, as ever: what a recipe builds after it has the same ones.
    backbone = NanoBackbone(config.backbone)
    load_weights(backbone, folder / WEIGHTS)
    try:
        prompter = Prompter(config.prompt, load_tokenizer(folder / TOKENIZER), backbone.image_tokens)
        prompter.require_image_token(config.backbone.image_token)
    except ValueError as error:
        raise ValueError(f"{folder / TOKENIZER}: does not fit {CONFIG}: {error}; {COPY_WHOLE_FOLDER}") from error
    return PretrainedBackbone(folder, config, backbone, prompter, Statistics.load(folder / STATISTICS))
