"""The narrow waist: everything that training, policies and checkpoints know of a model.

A model has a configuration of its own kind (`PolicyModelConfig`), is trained through `compute_loss` and acts through
`encode` -> `sample_actions`. A kind is one file: the built-in one is `wla.models.wla`; an installed package adds others
by an entry point of the group ``wla.models`` whose name is the kind and whose value is its configuration class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from wla.batch import Batch
from wla.models.image_codec import ImageCodec
from wla.models.model_config import PolicyModelConfig
from wla.models.model_config import RecomputedPart as RecomputedPart
from wla.types import IGNORE_INDEX

Target = Literal["actions", "subgoal", "text"]
"""The part of a batch that a loss term learns from."""


class TextLayout(Protocol):
    """Tokens around a generated text; the prompters of `wla.data.prompts` provide it."""

    pad: int
    stop: int

    def suffix_after(self, subtask_tokens: Sequence[int]) -> tuple[int, list[int]]:
        """How many of the last tokens to drop after a generated text, and the tokens to read then."""
        ...


@dataclass(frozen=True)
class ModelInputs:
    """Everything that a model reads before it acts; one row per episode.

    images: by name, at the sides of the model's `interface`. proprio: robot state in [-1, 1]. prompts: token ids, empty
    for a model without text. texts: tokens after each prompt; given ones for `encode`, drafts for `generate`.
    action_dims: how many of the action dimensions are those of the robot, as in a `Batch`.
    """

    images: Mapping[str, UInt8[Tensor, "B _ _ 3"]]
    proprio: Float[Tensor, "B S"]
    prompts: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]
    layout: TextLayout
    action_dims: Int64[Tensor, " B"] | None = None


@dataclass(frozen=True)
class ModelEncoding:
    """Inputs with everything that a model computed from them once; models extend it.

    text_tokens: the text after each prompt, given or generated.
    """

    inputs: ModelInputs
    text_tokens: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Imagination:
    """Properties of a model's image prediction.

    size: side in pixels. noise_shape: of the noise that one image is sampled from. flow_steps: default number of
    sampling steps. action_conditioned: whether given actions decide the image. guided: whether it also needs the
    encoding of an empty instruction (classifier-free guidance).
    """

    size: int
    noise_shape: tuple[int, ...]
    flow_steps: int
    action_conditioned: bool
    guided: bool


EncodingT = TypeVar("EncodingT", bound=ModelEncoding)


class PolicyModel(nn.Module, ABC, Generic[EncodingT]):
    """A model that can be trained, saved and act as a policy.

    An abstract class and not a Protocol: every model is an `nn.Module`, a forgotten method is an error where the model
    is built, and what most models share (counting targets, doing without text or images) is written once. There is no
    `forward`: a model is called through the methods below.

    loss_targets: loss term -> the part of a batch that it learns from. imagination_parts: prefixes of the weights that
    only image prediction needs; a lean load skips them. parts: name for people -> prefix of its weights.
    training_parts: those that only training needs. optional_weights: those that a policy which is trained further may
    lack; as they are made, they have no effect.
    """

    config: PolicyModelConfig
    loss_targets: ClassVar[Mapping[str, Target]]
    parts: ClassVar[Mapping[str, str]] = {}
    imagination_parts: ClassVar[tuple[str, ...]] = ()
    training_parts: ClassVar[tuple[str, ...]] = ()
    optional_weights: ClassVar[frozenset[str]] = frozenset()

    def loss_counts(self, batch: Batch) -> dict[str, int]:
        """Loss term -> number of targets in the batch, known without a forward pass and without images."""
        return {term: int(target_mask(batch, target).sum()) for term, target in self.loss_targets.items()}

    @abstractmethod
    def compute_loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Float[Tensor, ""]]:
        """Returns every loss term as a mean over its targets; zero, without gradient, where the batch has none.

        Noise and times come from `generator`, so that a step can be repeated exactly.
        """

    @abstractmethod
    def encode(self, inputs: ModelInputs) -> EncodingT:
        """Reads the inputs once, for any number of samples."""

    @abstractmethod
    def sample_actions(
        self,
        encoding: EncodingT,
        *,
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
    ) -> Float[Tensor, "R n A"]:
        """Normalised action chunks, one or several per episode: row r belongs to episode r mod B.

        num_steps: integration steps of a model that samples by integration; None for its default. prefix: normalised
        actions that remain of the chunk that is being executed. delay: how many of these will have been executed when
        the new chunk begins (None: all); it has to agree with them, the others only guide it. ValueError for a prefix
        that the model cannot continue.
        """

    def generate(self, inputs: ModelInputs) -> EncodingT:
        """Optional: `encode` after greedily generated texts. Drafts (`inputs.texts`) save time, they change no text."""
        raise NotImplementedError(f"{type(self).__name__} generates no text")

    @property
    def imagination(self) -> Imagination | None:
        """Properties of `predict_images`; None for a model that predicts none, or was built without these parts."""
        return None

    @property
    def image_codec(self) -> ImageCodec | None:
        """The frozen codec that `predict_images` decodes with; None like `imagination`."""
        return None

    def predict_images(
        self,
        encoding: EncodingT,
        *,
        noise: Float[Tensor, "B K ..."],
        num_steps: int | None = None,
        actions: Float[Tensor, "B K n A"] | None = None,
        unconditional: EncodingT | None = None,
    ) -> UInt8[Tensor, "B K _ _ 3"]:
        """Optional: images that the primary camera may show after a chunk, one for each noise.

        actions: normalised chunks, for a model whose `imagination` is action-conditioned. unconditional: the encoding
        of an empty instruction, for one that is guided.
        """
        raise NotImplementedError(f"{type(self).__name__} predicts no images")

    @property
    def adapted_module(self) -> nn.Module:
        """The part of the model that low-rank adapters are put on."""
        return self

    def enable_activation_checkpointing(self, parts: Collection[RecomputedPart] | None = None) -> None:
        """Recompute activations of these parts in the backward pass from now on; None for all. ValueError for a model
        that does not support it."""
        raise ValueError(f"models of kind {self.config.kind!r} do not recompute: set activation_checkpointing=false")


def target_mask(batch: Batch, target: Target) -> Bool[Tensor, "*shape"]:
    """Positions of a batch that hold a target of that kind."""
    match target:
        case "actions":
            return batch.action_mask
        case "subgoal":
            return batch.subgoal_mask
        case "text":
            return batch.labels != IGNORE_INDEX


ModelT = TypeVar("ModelT", bound=PolicyModel[Any])


def require_model(model: PolicyModel[Any], kind: type[ModelT], user: str) -> ModelT:
    """Returns the model as one of that class. ValueError, which begins with `user`, when it is of another."""
    if not isinstance(model, kind):
        raise ValueError(f"{user}: needs a {kind.__name__} model, not one of kind {model.config.kind!r}")
    return model
