"""A pretrained nano backbone, loaded to initialise a policy or to be measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import init_empty_weights
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from wla.data.normalize import Statistics
from wla.data.prompts.nano import Prompter
from wla.data.prompts.tokenizer import load_tokenizer
from wla.models.backbones.nano import NanoBackbone, module_name
from wla.policy.hub import local_folder
from wla.run_folder import read_checkpoint
from wla.training.grounding.objective import Grounding
from wla.training.objectives.backbone_files import CONFIG, GROUNDING, STATISTICS, TOKENIZER, WEIGHTS
from wla.training.objectives.configs import BackboneTrainConfig
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


def adapt_cameras(backbone: NanoBackbone, cameras: Mapping[str, int]) -> dict[str, Tensor]:
    """Weights of a backbone for other cameras: positions of a camera of the same name, or else of its primary one,
    interpolated where the image has another size.

    cameras: camera -> side of its images in pixels.
    """
    prefix = "stem.positions."
    weights = backbone.state_dict()
    known = {name.removeprefix(prefix): weights.pop(name) for name in list(weights) if name.startswith(prefix)}
    for camera, side in cameras.items():
        name = module_name(camera)
        own = known.get(name, known[module_name(backbone.primary)])
        weights[prefix + name] = _resized_positions(own, side // backbone.config.stride)
    return weights


def _resized_positions(positions: Float[Tensor, "P D"], side: int) -> Float[Tensor, "Q D"]:
    before = math.isqrt(len(positions))
    if before == side:
        return positions
    grid = positions.unflatten(0, (before, before)).permute(2, 0, 1)[None]
    resized = interpolate(grid, (side, side), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).flatten(0, 1)
