"""What the training of a policy starts from: nano's own base and codec, published library models, or a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data.normalize import VectorStatistics
from wla.data.prompts.chat import ChatPromptConfig, add_queries
from wla.data.prompts.nano import CURRENT_PREFIX, FINISHED_PREFIX, PromptConfig
from wla.data.prompts.tokenizer import extend_tokenizer, load_tokenizer
from wla.models.backbones.nano import NanoBackboneConfig
from wla.models.backbones.qwen3_vl import QwenBackbone
from wla.models.image_codec import ImageCodec
from wla.models.wla import WLA, WLAConfig
from wla.policy.checkpoint import CONFIG, load_checkpoint
from wla.policy.hub import bundled, resolve
from wla.training.grounding.objective import Grounding
from wla.training.objectives.backbone import load_backbone
from wla.training.objectives.codec import load_codec
from wla.weights import WeightFiles, find_weights, mismatch, shapes


@dataclass(frozen=True)
class Initialization:
    """A policy before its first step. state, action: ranges that it was made with (None: those of the datasets)."""

    model: WLA
    prompt: PromptConfig | ChatPromptConfig
    tokenizer: PreTrainedTokenizerFast
    state: VectorStatistics | None = None
    action: VectorStatistics | None = None
    grounding: Grounding | None = None


class GroundingConfig(Config):
    """How much of a base's lesson a policy takes along."""

    samples: int = 8
    """Scenes in each step, drawn from those of the base's recipe."""
    weight: float = 0.1
    """Of the lesson's loss, beside the policy's."""


class FromBackbone(Config):
    """A base and a codec: folders that their recipes wrote, or bundled ones."""

    kind: Literal["backbone"] = "backbone"
    backbone: str
    codec: str
    """A codec's folder, or a policy (folder or bundled name) whose codec it is."""
    grounding: GroundingConfig | None = None
    """None: the policy learns from its datasets alone."""

    def initialize(self, config: WLAConfig, texts: Sequence[str]) -> Initialization:
        """texts: what the datasets say; the base's tokenizer knows its own. ValueError when base or codec are absent or
        of other sizes."""
        base = load_backbone(self.backbone)
        codec = _load_codec(self.codec)
        if base.config.backbone != config.backbone:
            raise ValueError(f"{self.backbone}: this base has another backbone than the recipe; train the base again")
        model = WLA(config.replace(codec=codec.config))
        model.backbone.load_state_dict(base.backbone.state_dict())
        assert model.codec is not None
        model.codec.load_state_dict(codec.state_dict())
        lesson = None if self.grounding is None else base.grounding()
        # The state keeps the base's range, or its location words would change their meaning.
        return Initialization(
            model, base.config.prompt, base.prompter.tokenizer, base.statistics.state, grounding=lesson
        )


class FromPretrained(Config):
    """The models that WLA-0 is made of: Qwen3-VL (RynnBrain-2B) and SANA with its codec; folders or hub ids."""

    kind: Literal["pretrained"] = "pretrained"
    vlm: str
    sana: str
    prompt: ChatPromptConfig

    def initialize(self, config: WLAConfig, texts: Sequence[str]) -> Initialization:
        """Connector and Action Expert start at random, the new words like other words: around their mean.

        ValueError when a folder, a weight or a word of the tokenizer is missing or does not fit.
        """
        vlm, sana = resolve(self.vlm, "vision-language model"), resolve(self.sana, "Sana model")
        tokenizer = load_tokenizer(vlm / "tokenizer.json")
        try:
            add_queries(tokenizer, first=config.queries.begin, queries=config.queries.count)
        except ValueError as error:
            raise ValueError(f"{vlm}: {error}") from error
        model = WLA(config)
        assert isinstance(model.backbone, QwenBackbone)
        assert model.world_expert is not None
        assert model.codec is not None
        load_pretrained(model.backbone.model, vlm, prefix="model.", ignored=("lm_head.weight",))
        load_pretrained(model.world_expert.sana, sana / "transformer")
        load_pretrained(model.codec.vae, sana / "vae")
        return Initialization(model, self.prompt, tokenizer)


class FromCheckpoint(Config):
    """A finished policy (folder, bundled name or hub id) that goes on, in its own units."""

    kind: Literal["checkpoint"] = "checkpoint"
    policy: str
    prompt: PromptConfig | None = None
    """Another prompt than its own, for a policy with nano's prompts: with memory, say. Its tokenizer then gets words
    for what the datasets say, as far as the embedding has rows that no word uses yet."""
    backbone: str | None = None
    """Folder of a base with the policy's words. A backbone that was made of the policy's (`BackboneTrainConfig.policy`) takes
    its place; of another base, such as the one that the policy itself came from, the lesson alone goes on."""
    grounding: GroundingConfig | None = None
    """How much of the base's lesson goes on; None: the policy learns from its datasets alone."""

    @model_validator(mode="after")
    def _require_backbone_for_grounding(self) -> Self:
        if self.grounding is not None and self.backbone is None:
            raise ValueError("grounding: is a base's lesson; name the base")
        return self

    def initialize(self, config: WLAConfig, texts: Sequence[str]) -> Initialization:
        """ValueError when the policy has other sizes than the recipe, or another kind of prompt."""
        checkpoint = load_checkpoint(resolve(self.policy))
        # The codec is frozen: its units are the policy's.
        model = WLA(config.replace(codec=checkpoint.config.model.codec))
        wrong = mismatch(shapes(checkpoint.model.state_dict()), shapes(model.state_dict()))
        if wrong:
            raise ValueError(f"policy {self.policy} is of other sizes than the recipe's model: {wrong}; correct one")
        model.load_state_dict(checkpoint.model.state_dict())
        known = checkpoint.statistics
        prompt, tokenizer, lesson, grown = checkpoint.config.prompt, checkpoint.tokenizer, None, 0
        if self.prompt is not None:
            if not isinstance(prompt, PromptConfig) or not isinstance(config.backbone, NanoBackboneConfig):
                raise ValueError(f"policy {self.policy} has published prompts; leave init.prompt away")
            prompt, grown = self.prompt, config.backbone.vocabulary
        base = None if self.backbone is None else load_backbone(self.backbone)
        if base is not None and base.config.policy == self.policy:
            model.backbone.load_state_dict(base.backbone.state_dict())
            tokenizer = base.prompter.tokenizer
        elif base is not None and base.prompter.tokenizer.get_vocab() != tokenizer.get_vocab():
            raise ValueError(f"{self.backbone}: this base has other words than {self.policy}; name one made of it")
        elif grown:
            tokenizer = extend_tokenizer(tokenizer, [*texts, FINISHED_PREFIX, CURRENT_PREFIX], size=grown)
        if base is not None and self.grounding is not None:
            lesson = base.grounding()
        return Initialization(model, prompt, tokenizer, known.state, known.action, lesson)


InitConfig = Annotated[FromBackbone | FromPretrained | FromCheckpoint, Field(discriminator="kind")]
"""What the weights of a policy are initialized from."""


def _load_codec(name: str) -> ImageCodec:
    folder = bundled().get(name, Path(name))
    if not (folder / CONFIG).is_file():
        return load_codec(folder)
    codec = load_checkpoint(folder).model.codec
    if not isinstance(codec, ImageCodec):
        raise ValueError(f"policy {name}: has another kind of codec than nano's")
    return codec


@torch.no_grad()
def load_pretrained(module: nn.Module, folder: Path, *, prefix: str = "", ignored: tuple[str, ...] = ()) -> None:
    """Copy the weights of a folder into a module, converted to its precision.

    An embedding may have fewer rows than the module's: the new ones are drawn around the mean of the others, as far
    from it as these are. ValueError lists keys that are missing, too many or misshapen.
    """
    own = module.state_dict()
    with WeightFiles(find_weights(folder)) as files:
        names = {key.removeprefix(prefix): key for key in files.shapes if key not in ignored}
        grown = [name for name in names if name in own and _adds_rows(files.shapes[names[name]], own[name])]
        stored = {name: tuple(own[name].shape) if name in grown else files.shapes[key] for name, key in names.items()}
        wrong = mismatch(stored, shapes(own))
        if wrong:
            raise ValueError(f"{folder}: these weights are of another model: {wrong}; give the folder of the right one")
        for name, key in names.items():
            value = files[key]
            own[name][: len(value)].copy_(value) if name in grown else own[name].copy_(value)
            if name in grown:
                new, rows = own[name][len(value) :], value.float()
                new.copy_(rows.mean(0) + rows.std(0) * torch.randn(new.shape))


def _adds_rows(stored: tuple[int, ...], wanted: Tensor) -> bool:
    return len(stored) == wanted.ndim == 2 and stored[1] == wanted.shape[1] and stored[0] < wanted.shape[0]
