"""Initial weights of a policy in training: random, a pretrained nano backbone and codec, or a finished policy.

`wla.training.objectives.pretrained` starts from published library models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data import ActionRepresentationConfig, NormalizationConfig, VectorStatistics
from wla.data.prompts.kinds import AnyPromptConfig, PromptConfig, extended_tokenizer
from wla.models.model import PolicyModel, PolicyModelConfig, require_config, require_model
from wla.models.wla import WLA, WLAConfig
from wla.policy.hub import fetch_checkpoint
from wla.training.objectives.auxiliary_grounding import AuxiliaryGrounding, GroundingConfig
from wla.training.objectives.pretrained_backbone import load_backbone
from wla.training.objectives.pretrained_codec import load_codec
from wla.weights import mismatch, shapes


@dataclass(frozen=True)
class Initialization:
    """A policy before its first step.

    prompt, tokenizer: None for a model without text. state, action: ranges that it was made with (None: those of the
    datasets), normalization the modes and action_representation the actions that they are for. generates_text: whether
    its weights have learned to generate subtasks.
    """

    model: PolicyModel[Any]
    prompt: AnyPromptConfig | None = None
    tokenizer: PreTrainedTokenizerFast | None = None
    state: VectorStatistics | None = None
    action: VectorStatistics | None = None
    grounding: AuxiliaryGrounding | None = None
    generates_text: bool = False
    normalization: NormalizationConfig = field(default_factory=NormalizationConfig)
    action_representation: ActionRepresentationConfig = field(default_factory=ActionRepresentationConfig)

    def ranges(
        self, modes: NormalizationConfig, representation: ActionRepresentationConfig
    ) -> tuple[VectorStatistics | None, VectorStatistics | None]:
        """Returns `state` and `action`, each None where it is used in another mode or for another representation: what
        was learned in its units is then given up."""
        same = modes.action == self.normalization.action and representation == self.action_representation
        return self.state if modes.state == self.normalization.state else None, self.action if same else None

    def learned_prompt(self, *, labelled: bool) -> AnyPromptConfig | None:
        """Returns the prompt of the trained policy: without language where no text was or will be learned.

        An untrained head would generate one word until its limit, into report and memory. labelled: whether a dataset
        has subtasks.
        """
        weights = dict(self.model.config.loss_weights)
        trained = labelled and any(weights[term] for term, kind in self.model.loss_targets.items() if kind == "text")
        if self.prompt is None or trained or self.generates_text:
            return self.prompt
        return self.prompt.replace(language=False)


class FromScratch(Config):
    """Random weights, for a model without text."""

    kind: Literal["scratch"] = "scratch"

    grounding: ClassVar[GroundingConfig | None] = None
    predicts_subtasks: ClassVar[bool] = False

    def initialize(self, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
        """ValueError for a model that needs a tokenizer."""
        if config.interface.image_tokens:
            raise ValueError(
                f"init: a model of kind {config.kind!r} reads text; name the backbone or policy with its tokenizer"
            )
        return Initialization(config.build())


class FromBackbone(Config):
    """A pretrained backbone and a codec: folders that their recipes wrote, or bundled ones."""

    predicts_subtasks: ClassVar[bool] = True

    kind: Literal["backbone"] = "backbone"
    backbone: str
    codec: str
    """A codec's folder, or a policy (folder or bundled name) whose codec it is."""
    grounding: GroundingConfig | None = None
    """None: the policy learns from its datasets alone."""

    def initialize(self, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
        """texts: those of the datasets; the backbone's tokenizer has its own. ValueError when backbone or codec are
        absent or of other sizes."""
        own = require_config(config, WLAConfig, "init.backbone")
        pretrained = load_backbone(self.backbone)
        codec = load_codec(self.codec)
        if pretrained.config.backbone != own.backbone:
            raise ValueError(
                f"{self.backbone}: this backbone has other sizes than the recipe's; train the backbone again"
            )
        model = WLA(own.replace(codec=codec.config))
        model.backbone.load_state_dict(pretrained.backbone.state_dict())
        assert model.codec is not None
        model.codec.load_state_dict(codec.state_dict())
        grounding = None
        if self.grounding is not None:
            grounding = AuxiliaryGrounding(model.backbone, pretrained.grounding(), self.grounding)
        # The state keeps the backbone's range, or its location tokens would change their meaning. A robot with another
        # state has a range of its own.
        state = pretrained.statistics.state
        same_state = state.dim == own.interface.state_dim
        return Initialization(
            model,
            pretrained.config.prompt,
            pretrained.prompter.tokenizer,
            state if same_state else None,
            grounding=grounding,
        )


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
        )
