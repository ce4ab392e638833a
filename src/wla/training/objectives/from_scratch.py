"""Initialisation of a policy by random weights."""

from __future__ import annotations

from collections.abc import Sequence

from wla.data.prompts.kinds import trained_tokenizer
from wla.models.configs import BackbonePolicyConfig, CodecPolicyConfig
from wla.models.model_config import PolicyModelConfig
from wla.models.world_vla_config import WorldVLAConfig
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromScratch
from wla.training.objectives.pretrained_codec import model_with_codec


def initialize(init: FromScratch, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
    """ValueError for a model that lacks a prompt or a codec."""
    if not config.interface.image_tokens:
        return Initialization(config.build())
    if init.prompt is None:
        raise ValueError(
            f"init: a model of kind {config.kind!r} reads text; set init.prompt, or name the backbone or policy "
            "with its tokenizer"
        )
    if not isinstance(config, BackbonePolicyConfig | WorldVLAConfig):
        raise ValueError(f"init.prompt: models of kind {config.kind!r} are not initialised with text")
    tokenizer = trained_tokenizer(init.prompt, texts, size=config.text_vocabulary)
    if not isinstance(config, CodecPolicyConfig):
        return Initialization(config.build(), init.prompt, tokenizer)
    if init.codec is None:
        raise ValueError("init.codec: the model predicts images; name a codec, or a policy whose codec it is")
    return Initialization(model_with_codec(config, init.codec), init.prompt, tokenizer)
