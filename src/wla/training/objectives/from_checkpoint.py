"""Initial weights of a policy from a finished one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from wla.config import Config
from wla.data.prompts.kinds import PromptConfig, extended_tokenizer
from wla.models.model import PolicyModelConfig, require_config, require_model
from wla.models.wla import WLA, WLAConfig
from wla.policy.hub import fetch_checkpoint
from wla.training.objectives.auxiliary_grounding import AuxiliaryGrounding, GroundingConfig
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.pretrained_backbone import load_backbone
from wla.weights import mismatch, shapes


class FromCheckpoint(Config):
    """A finished policy (folder, bundled name or hub id) that is fine-tuned, in its own units."""

    predicts_subtasks: ClassVar[bool] = True

    kind: Literal["checkpoint"] = "checkpoint"
    policy: str
    prompt: PromptConfig | None = None
    """Another prompt than its own, for a policy with nano's prompts: with memory, say. Its tokenizer then gets tokens
    for the datasets' texts, as far as the embedding has rows that no token uses yet."""
    backbone: str | None = None
    """Folder of a pretrained backbone with the policy's tokens. A backbone that was made of the policy's
    (`BackboneTrainConfig.policy`) replaces it; of another, such as the one that the policy itself came from, only the
    auxiliary objective is used."""
    grounding: GroundingConfig | None = None
    """Amount of the backbone's auxiliary objective; None: the policy learns from its datasets alone."""

    @model_validator(mode="after")
    def _require_backbone_for_grounding(self) -> Self:
        if self.grounding is not None and self.backbone is None:
            raise ValueError("grounding: is the objective of a pretrained backbone; set backbone too")
        return self

    def initialize(self, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
        """ValueError when the policy has other sizes than the recipe, or another kind of prompt."""
        checkpoint = fetch_checkpoint(self.policy)
        model = config.with_frozen_parts(checkpoint.config.model).build()
        wrong = mismatch(shapes(checkpoint.model.state_dict()), shapes(model.state_dict()))
        if wrong:
            raise ValueError(f"policy {self.policy} is of other sizes than the recipe's model: {wrong}; correct one")
        model.load_state_dict(checkpoint.model.state_dict())
        prompt, tokenizer, grounding, grown = checkpoint.config.prompt, checkpoint.tokenizer, None, 0
        if self.prompt is not None:
            if not isinstance(prompt, PromptConfig):
                raise ValueError(f"policy {self.policy} has no prompts of nano's kind; leave init.prompt out")
            prompt = self.prompt
            grown = require_config(config, WLAConfig, "init.prompt").backbone.text_sizes.vocabulary
        pretrained = None if self.backbone is None else load_backbone(self.backbone)
        if pretrained is not None and pretrained.config.policy == self.policy:
            require_model(model, WLA, "init.backbone").backbone.load_state_dict(pretrained.backbone.state_dict())
            tokenizer = pretrained.prompter.tokenizer
        elif pretrained is not None:
            if tokenizer is None or pretrained.prompter.tokenizer.get_vocab() != tokenizer.get_vocab():
                raise ValueError(f"{self.backbone}: has other tokens than {self.policy}; name a backbone made of it")
        elif grown and tokenizer is not None:
            tokenizer = extended_tokenizer(tokenizer, texts, size=grown)
        if pretrained is not None and self.grounding is not None:
            backbone = require_model(model, WLA, "init.grounding").backbone
            grounding = AuxiliaryGrounding(backbone, pretrained.grounding(), self.grounding)
        known = checkpoint.statistics
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
        )
