"""Tokens on which a model and its prompts agree."""

from __future__ import annotations

from wla.data.prompts.chat import ChatPrompter
from wla.data.prompts.kinds import AnyPrompter
from wla.data.prompts.nano import Prompter
from wla.data.prompts.no_text import NoText
from wla.data.prompts.special_tokens import location_name
from wla.models.backbones.configs import QwenBackboneConfig
from wla.models.configs import BackbonePolicyConfig
from wla.models.model_config import PolicyModelConfig
from wla.models.world_vla_config import WorldVLAConfig


def require_tokens(model: PolicyModelConfig, prompter: AnyPrompter) -> None:
    """ValueError for a token of the prompts that the model has under another id: images would not be read, or states of
    other tokens would be taken for those of the meta-queries."""
    if isinstance(prompter, NoText) or not isinstance(model, BackbonePolicyConfig | WorldVLAConfig):
        return
    if isinstance(model, BackbonePolicyConfig):
        _require_queries(model, prompter)
    elif model.image_token != prompter.image:
        raise ValueError(f"the image token is {model.image_token} for the model and {prompter.image} in its prompts")
    vocabulary = prompter.tokenizer.get_vocab()
    last, rows = max(vocabulary.values()), model.text_vocabulary
    if last >= rows:
        raise ValueError(f"the tokenizer has token {last}, the model {rows} tokens")
    if isinstance(prompter, Prompter) and location_name(prompter.config.locations) in vocabulary:
        raise ValueError(f"the prompts use {prompter.config.locations} location tokens and the tokenizer has more")


def _require_queries(model: BackbonePolicyConfig, prompter: Prompter | ChatPrompter) -> None:
    backbone, queries = model.backbone, model.queries
    pairs = [("the image token", backbone.image_token, prompter.image)]
    if isinstance(backbone, QwenBackboneConfig) and not isinstance(prompter, Prompter):
        pairs += [
            ("the token before an image", backbone.vision_start, prompter.vision_start),
            ("the token after an image", backbone.vision_end, prompter.vision_end),
        ]
    pairs += [
        ("the begin marker", queries.begin, prompter.begin_queries),
        ("the end marker", queries.end, prompter.end_queries),
        ("the first meta-query", queries.first, prompter.first_query),
        ("the number of meta-queries", queries.count, prompter.config.queries),
    ]
    for what, ours, theirs in pairs:
        if ours != theirs:
            raise ValueError(f"{what} is {ours} for the model and {theirs} in its prompts")
