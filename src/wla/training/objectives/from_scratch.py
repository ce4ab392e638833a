"""Initialisation of a policy by random weights."""

from __future__ import annotations

from collections.abc import Sequence

from wla.data.prompts.kinds import trained_tokenizer
from wla.models import WLA, PolicyModelConfig, WLAConfig, WorldVLA, WorldVLAConfig
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromScratch
from wla.training.objectives.pretrained_codec import load_codec


def initialize(init: FromScratch, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
    """ValueError for a model that lacks a prompt or a codec."""
    if not config.interface.image_tokens:
        return Initialization(config.build())
    if init.prompt is None:
        raise ValueError(
            f"init: a model of kind {config.kind!r} reads text; set init.prompt, or name the backbone or policy "
            "with its tokenizer"
        )
    if not isinstance(config, WLAConfig | WorldVLAConfig):
        raise ValueError(f"init.prompt: models of kind {config.kind!r} are not initialised with a codec")
    if init.codec is None:
        raise ValueError("init.codec: the model predicts images; name a codec, or a policy whose codec it is")
    tokenizer = trained_tokenizer(init.prompt, texts, size=config.text_vocabulary)
    return Initialization(model_with_codec(config, init.codec), init.prompt, tokenizer)


def model_with_codec(config: WLAConfig | WorldVLAConfig, codec: str) -> WLA | WorldVLA:
    """A model with random weights, but for those of a trained codec. ValueError when there is none, or of another kind
    than the model reads."""
    trained = load_codec(codec)
    model = config.replace(codec=trained.config).build()
    assert model.codec is not None
    model.codec.load_state_dict(trained.state_dict())
    return model
