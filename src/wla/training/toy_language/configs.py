"""Recipes of the toy language: supervised, and by reinforcement learning for right texts in few forward passes.

Apart from the objectives, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from wla.config import Config
from wla.models import BlockTextConfig, MaskedDecodingConfig
from wla.models.sizes import Depth, Width
from wla.training.configs import LoopConfig
from wla.training.toy_language import sums

if TYPE_CHECKING:
    from wla.training.toy_language.reinforced import ReinforcedTextObjective
    from wla.training.toy_language.supervised import SupervisedTextObjective


class ToyLanguageConfig(Config):
    """The language, the sizes of its model, and how that decodes."""

    digits: int = Field(default=3, ge=1, le=8)
    """Digits of the numbers that are added."""
    block: int = Field(default=16, ge=1, le=256)
    """Tokens that are masked at once."""
    threshold: float = Field(default=0.9, gt=0)
    """Probability from which a token is revealed; above 1 each forward pass reveals one."""
    width: Width = 64
    layers: Depth = 3
    heads: Width = 4
    mlp: Width = 192

    @property
    def decoding(self) -> MaskedDecodingConfig:
        return MaskedDecodingConfig(
            block=self.block,
            max_blocks=-(-sums.longest_text(self.digits) // self.block),
            threshold=self.threshold,
            mask=sums.MASK,
            stop=sums.STOP,
            pad=sums.PAD,
        )

    @property
    def model(self) -> BlockTextConfig:
        return BlockTextConfig(
            vocabulary=len(sums.VOCABULARY),
            prompt=sums.prompt_length(self.digits),
            block=self.block,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            mlp=self.mlp,
        )


class ToyLanguageTrainConfig(Config):
    """Recipe of a model that writes sums with their steps, in any of their wordings."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop", "validation_texts"})

    language: ToyLanguageConfig = ToyLanguageConfig()
    validation_texts: int = Field(default=256, ge=1)
    """Texts of a validation (`loop.validation_every`)."""
    loop: LoopConfig

    def build(self) -> SupervisedTextObjective:
        from wla.training.toy_language.supervised import SupervisedTextObjective

        return SupervisedTextObjective(self)


class ToyLanguageRLConfig(Config):
    """Recipe after LightningRL (arXiv 2603.13319): right texts and many tokens per forward pass are both rewarded.

    A step of the loop is an update: groups of texts after the same prompt, then one or more passes over them in
    minibatches of `loop.batch_size` texts. The reward of a text is compared within its group.
    """

    may_change: ClassVar[frozenset[str]] = frozenset({"loop", "validation_texts"})

    start: Path
    """Folder of the supervised run or of its checkpoint."""
    groups: int = Field(default=32, ge=1)
    """Prompts of an update."""
    group_size: int = Field(default=8, ge=2)
    """Texts after each prompt."""
    speed_weight: float = Field(default=1.0, ge=0)
    """Weight of the tokens per forward pass beside success; 0: success alone."""
    decoupled: bool = True
    """Normalise success and speed in each group on their own before they are added; otherwise their sum."""
    group_filter: bool = True
    """Leave out groups without a right text, and those that tell nothing."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """Range of the probability ratio of a text, 1 - clip .. 1 + clip, beyond which it teaches nothing further."""
    kl_weight: float = Field(default=0.01, ge=0)
    """Weight of the divergence from the supervised model."""
    anchor_weight: float = Field(default=0.1, ge=0)
    """Weight of the negative log-likelihood of right texts, of all that is masked at each pass: what is revealed late
    becomes likely earlier. LightningRL's weight: 0.1."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the texts of an update."""
    validation_texts: int = Field(default=256, ge=1)
    """Texts of a validation (`loop.validation_every`)."""
    loop: LoopConfig

    @model_validator(mode="after")
    def _require_one_micro_batch(self) -> Self:
        if self.loop.micro_batches > 1:
            raise ValueError("loop.micro_batches: reinforcement learning has minibatches alone; lower loop.batch_size")
        return self

    def build(self) -> ReinforcedTextObjective:
        from wla.training.toy_language.reinforced import ReinforcedTextObjective

        return ReinforcedTextObjective(self)
