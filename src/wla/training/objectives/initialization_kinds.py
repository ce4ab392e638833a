"""The kinds of initial weights of a policy; `kind` identifies one.

Apart from the code that makes them, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from wla.config import Config
from wla.data.prompts.configs import ChatPromptConfig, PromptConfig
from wla.models.model_config import PolicyModelConfig
from wla.training.grounding.configs import GroundingConfig

if TYPE_CHECKING:
    from wla.training.objectives.initialization import Initialization


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
        from wla.training.objectives.from_backbone import initialize

        return initialize(self, config, texts)


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
        from wla.training.objectives.from_checkpoint import initialize

        return initialize(self, config, texts)


class FromScratch(Config):
    """Random weights; for a model with text also a new tokenizer, trained on the texts of the datasets."""

    kind: Literal["scratch"] = "scratch"

    grounding: ClassVar[None] = None

    prompt: PromptConfig | None = None
    """Prompt of a model with text (None: a model without text)."""
    codec: str | None = None
    """A codec's folder, or a policy (folder or bundled name) whose codec it is, for a model that predicts images."""

    @property
    def predicts_subtasks(self) -> bool:
        return self.prompt is not None and self.prompt.language

    def initialize(self, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
        from wla.training.objectives.from_scratch import initialize

        return initialize(self, config, texts)


class FromSmolVLM(Config):
    """SmolVLM2 (256M, 500M), or another model of its layout, and an image codec; folders or hub ids."""

    kind: Literal["smolvlm"] = "smolvlm"

    grounding: ClassVar[None] = None

    vlm: str
    """Folder or hub id of the model, with its tokenizer: HuggingFaceTB/SmolVLM2-256M-Video-Instruct."""
    codec: str
    """A codec's folder, or a policy (folder or bundled name) whose codec it is."""
    prompt: PromptConfig

    @property
    def predicts_subtasks(self) -> bool:
        return self.prompt.language

    def initialize(self, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
        from wla.training.objectives.from_smolvlm import initialize

        return initialize(self, config, texts)


class FromChameleon(Config):
    """The text layers of a published Chameleon (7B), and an image codec, for WorldVLA; folders or hub ids."""

    predicts_subtasks: ClassVar[bool] = False

    kind: Literal["chameleon"] = "chameleon"

    grounding: ClassVar[None] = None

    chameleon: str
    """Folder or hub id of the model in transformers' layout, with its tokenizer: facebook/chameleon-7b."""
    codec: str
    """A codec's folder, or a policy (folder or bundled name) whose codec it is."""
    prompt: PromptConfig

    def initialize(self, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
        from wla.training.objectives.from_chameleon import initialize

        return initialize(self, config, texts)


class FromPretrained(Config):
    """Qwen3-VL (RynnBrain-2B) and SANA with its codec; folders or hub ids."""

    kind: Literal["pretrained"] = "pretrained"

    grounding: ClassVar[GroundingConfig | None] = None

    vlm: str
    sana: str
    prompt: ChatPromptConfig

    @property
    def predicts_subtasks(self) -> bool:
        return self.prompt.language

    def initialize(self, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
        from wla.training.objectives.pretrained import initialize

        return initialize(self, config, texts)


AnyInitialization = Annotated[
    FromBackbone | FromPretrained | FromSmolVLM | FromChameleon | FromCheckpoint | FromScratch,
    Field(discriminator="kind"),
]
