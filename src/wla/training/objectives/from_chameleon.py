"""Initial weights of WorldVLA at full size: the text layers of a published Chameleon, and a trained image codec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn
from transformers import AutoConfig

from wla.data.prompts.special_tokens import special_tokens
from wla.data.prompts.tokenizer import append_tokens, load_tokenizer
from wla.files import read_json
from wla.models import PolicyModelConfig, WorldVLA, WorldVLAConfig, require_config, require_model
from wla.policy.hub import resolve
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromChameleon
from wla.training.objectives.pretrained import load_pretrained
from wla.training.objectives.pretrained_codec import model_with_codec

CONSTANTS = {"swin_norm": False, "hidden_act": "silu", "rms_norm_eps": 1e-5}
"""What decides the computation beside the shapes of the weights."""
IMAGE_TOKENIZER = "model.vqmodel."
"""Prefix of weights that are not read: images become codes by the codec of this package."""


def initialize(init: FromChameleon, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
    """The special tokens of the prompts are new rows behind the published vocabulary, drawn around the mean of the
    others. ValueError when a folder or a weight is missing or does not fit."""
    own = require_config(config, WorldVLAConfig, "init.chameleon")
    if own.layout != "chameleon":
        raise ValueError("init.chameleon: the recipe's decoder has another layout; set model.layout=chameleon")
    folder = resolve(init.chameleon, "Chameleon model")
    require_constants(folder)
    names = special_tokens(init.prompt.queries, init.prompt.locations)
    tokenizer = load_tokenizer(folder / "tokenizer.json", appended=names)
    try:
        append_tokens(tokenizer, names, first=own.image_token - 3, filler="unused", what="first special token")
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    model = require_model(model_with_codec(own, init.codec), WorldVLA, "init")
    load_text_layers(model, folder)
    return Initialization(model, init.prompt, tokenizer)


def load_text_layers(model: WorldVLA, folder: Path) -> None:
    """Copies the weights of a published Chameleon, without its image tokenizer. ValueError when they do not fit."""
    assert model.lm_head is not None, "of Chameleon's layout"
    published = nn.ModuleDict({"model": model.decoder, "lm_head": model.lm_head})
    load_pretrained(published, folder, ignored=(IMAGE_TOKENIZER,))


def require_constants(folder: Path) -> None:
    """ValueError for a folder without a Chameleon, or with one that computes differently."""
    path = folder / "config.json"
    kind = read_json(path, missing="no model here; give the folder of a Chameleon").get("model_type")
    if kind != "chameleon":
        raise ValueError(f"{path}: model_type is {kind!r}; give the folder of a Chameleon")
    stored = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    theirs = {name: getattr(stored, name) for name in CONSTANTS} | {"rope_theta": stored.rope_parameters["rope_theta"]}
    for name, value in (CONSTANTS | {"rope_theta": 10_000.0}).items():
        if theirs[name] != value:
            raise ValueError(f"{path}: {name} is {theirs[name]}, and the decoder computes with {value}: not supported")
