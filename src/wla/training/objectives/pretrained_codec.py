"""A trained image codec, loaded to initialise a policy or to encode a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights

from wla.models.configs import CodecPolicyConfig, ImageCodecConfig
from wla.models.image_codec import ImageCodec
from wla.models.model import PolicyModel
from wla.models.model_config import PolicyModelConfig
from wla.policy.checkpoint_files import CONFIG as POLICY_CONFIG
from wla.policy.hub import fetch_checkpoint, local_folder
from wla.run_folder import read_checkpoint
from wla.specs import ImageFit
from wla.training.objectives.codec import CONFIG, WEIGHTS
from wla.weights import load_weights, require_fit


class PretrainedCodec(NamedTuple):
    """camera, size, image_fit: what a policy encodes with it; a codec's own folder does not say."""

    codec: ImageCodec
    camera: str | None = None
    size: int | None = None
    image_fit: ImageFit = "pad"


def load_codec(name: str | Path) -> ImageCodec:
    """A trained codec: a codec's folder, or a policy (folder or bundled name) whose codec it is. ValueError without."""
    return codec_of(name).codec


def model_with_codec(config: PolicyModelConfig, codec: str) -> PolicyModel[Any]:
    """A model with random weights, but for those of a trained codec where it has one. ValueError when there is none, or
    of another kind than the model reads."""
    if not isinstance(config, CodecPolicyConfig):
        return config.build()
    trained = load_codec(codec)
    model = config.replace(codec=trained.config).build()
    assert model.image_codec is not None
    model.image_codec.load_state_dict(trained.state_dict())
    return model


def codec_of(name: str | Path) -> PretrainedCodec:
    """The codec of `load_codec`, and what it encodes."""
    return read_checkpoint(lambda: local_folder(name), _read)


def _read(folder: Path) -> PretrainedCodec:
    if (folder / POLICY_CONFIG).is_file():
        model = fetch_checkpoint(folder).model
        if model.image_codec is None:
            raise ValueError(f"{folder}: a policy of kind {model.config.kind!r} has no image codec")
        interface = model.config.interface
        return PretrainedCodec(model.image_codec, interface.primary, interface.subgoal_size, interface.image_fit)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no codec here; train one first (`wla train nano_codec`)")
    config = ImageCodecConfig.load(folder / CONFIG)
    with torch.random.fork_rng(devices=[]), init_empty_weights():
        require_fit(ImageCodec(config), folder / WEIGHTS)
    # Built with random weights, as ever: what a recipe builds after it has the same ones.
    codec = ImageCodec(config)
    load_weights(codec, folder / WEIGHTS)
    return PretrainedCodec(codec)
