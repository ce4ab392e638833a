"""Initial weights of a small policy: a published SmolVLM, and a trained image codec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from wla.data.prompts.special_tokens import special_tokens
from wla.data.prompts.tokenizer import append_tokens, load_tokenizer
from wla.files import read_json
from wla.models import BackbonePolicy, BackbonePolicyConfig, PolicyModelConfig, require_model
from wla.models.backbones.configs import SmolVLMBackboneConfig
from wla.policy.hub import resolve
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromSmolVLM
from wla.training.objectives.pretrained import load_pretrained
from wla.training.objectives.pretrained_codec import model_with_codec

KINDS = ("smolvlm", "idefics3")
"""Values of `model_type` of the models with this layout."""
LM_HEAD = "lm_head.weight"


def initialize(init: FromSmolVLM, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
    """The experts are random; the embeddings of new tokens are drawn around the mean of the others.

    ValueError when a folder, a weight or a token of the tokenizer is missing or does not fit.
    """
    backbone = config.backbone if isinstance(config, BackbonePolicyConfig) else None
    if not isinstance(config, BackbonePolicyConfig) or not isinstance(backbone, SmolVLMBackboneConfig):
        raise ValueError("init.vlm: the recipe's backbone is not a SmolVLM; use small_model(vlm=..)")
    vlm = resolve(init.vlm, "vision-language model")
    require_sizes(vlm, backbone)
    tokenizer = load_tokenizer(vlm / "tokenizer.json")
    known = tokenizer.get_vocab()
    # Its own start and end of a turn, and padding, are used; the others are new.
    names = special_tokens(init.prompt.queries, init.prompt.locations)
    missing = [name for name in names[:3] if name not in known]
    if missing:
        raise ValueError(f"{vlm}: its tokenizer lacks {', '.join(missing)}; give the tokenizer of a SmolVLM")
    try:
        append_tokens(tokenizer, names[3:], first=backbone.image_token, filler="unused", what="image token")
    except ValueError as error:
        raise ValueError(f"{vlm}: {error}") from error
    model = require_model(model_with_codec(config, init.codec), BackbonePolicy, "init")
    load_pretrained(model.backbone, vlm, ignored=(LM_HEAD,) if backbone.tie_word_embeddings else ())
    return Initialization(model, init.prompt, tokenizer)


def require_sizes(folder: Path, backbone: SmolVLMBackboneConfig) -> None:
    """ValueError when the model of a folder has other sizes or constants than the recipe's backbone."""
    path = folder / "config.json"
    kind = read_json(path, missing="no model here; give the folder of a SmolVLM").get("model_type")
    if kind not in KINDS:
        raise ValueError(f"{path}: model_type is {kind!r}; give the folder of a SmolVLM ({' or '.join(KINDS)})")
    stored = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    theirs: dict[str, Any] = {"scale_factor": stored.scale_factor}
    ours: dict[str, Any] = {"scale_factor": backbone.scale_factor}
    for part, sizes, section in (
        ("text", backbone.text, stored.text_config),
        ("vision", backbone.vision, stored.vision_config),
    ):
        for name, value in sizes:
            if name not in ("vocab_size", "max_position_embeddings"):
                ours[f"{part}.{name}"] = value
                theirs[f"{part}.{name}"] = (
                    section.rope_parameters.get(name) if name == "rope_theta" else getattr(section, name, None)
                )
    for name, value in ours.items():
        if theirs[name] != value:
            raise ValueError(f"{path}: {name} is {theirs[name]}, in the recipe's model {value}; correct model.backbone")
