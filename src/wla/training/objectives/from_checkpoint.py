"""Initial weights of a policy from a finished one."""

from __future__ import annotations

from collections.abc import Sequence

from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.kinds import extended_tokenizer
from wla.models import BackbonePolicy, BackbonePolicyConfig, PolicyModelConfig, require_config, require_model
from wla.policy.hub import fetch_checkpoint
from wla.training.objectives.auxiliary_grounding import AuxiliaryGrounding
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromCheckpoint
from wla.training.objectives.pretrained_backbone import load_backbone
from wla.weights import mismatch, shapes


def initialize(init: FromCheckpoint, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
    """ValueError when the policy has other sizes than the recipe, or another kind of prompt."""
    checkpoint = fetch_checkpoint(init.policy)
    model = config.with_frozen_parts(checkpoint.config.model).build()
    made = model.state_dict()
    known_weights = {name: made[name] for name in model.optional_weights & made.keys()} | checkpoint.model.state_dict()
    wrong = mismatch(shapes(known_weights), shapes(made))
    if wrong:
        raise ValueError(f"policy {init.policy} is of other sizes than the recipe's model: {wrong}; correct one")
    model.load_state_dict(known_weights)
    prompt, tokenizer, grounding, grown = checkpoint.config.prompt, checkpoint.tokenizer, None, 0
    if init.prompt is not None:
        if not isinstance(prompt, PromptConfig):
            raise ValueError(f"policy {init.policy} has no prompts of nano's kind; leave init.prompt out")
        prompt = init.prompt
        grown = require_config(config, BackbonePolicyConfig, "init.prompt").backbone.text_sizes.vocabulary
    pretrained = None if init.backbone is None else load_backbone(init.backbone)
    if pretrained is not None and pretrained.config.policy == init.policy:
        require_model(model, BackbonePolicy, "init.backbone").backbone.load_state_dict(pretrained.backbone.state_dict())
        tokenizer = pretrained.prompter.tokenizer
    elif pretrained is not None:
        if tokenizer is None or pretrained.prompter.tokenizer.get_vocab() != tokenizer.get_vocab():
            raise ValueError(f"{init.backbone}: has other tokens than {init.policy}; name a backbone made of it")
    elif grown and tokenizer is not None:
        tokenizer = extended_tokenizer(tokenizer, texts, size=grown)
    if pretrained is not None and init.grounding is not None:
        backbone = require_model(model, BackbonePolicy, "init.grounding").backbone
        grounding = AuxiliaryGrounding(backbone, pretrained.grounding(), init.grounding)
    known = checkpoint.robots[0].statistics  # of several robots, each has its own
    generates_text = checkpoint.config.prompt is not None and checkpoint.config.prompt.language
    return Initialization(
        model,
        prompt,
        tokenizer,
        known.state,
        known.action,
        grounding,
        generates_text,
        checkpoint.config.normalization,
        checkpoint.config.action_representation,
        checkpoint.training_data,
        checkpoint.robots,
    )
