"""The narrow waist: everything that training, policies and checkpoints know of a model.

A model has a configuration of its own kind (`PolicyModelConfig`), is trained through `compute_loss` and acts through
`encode` -> `sample_actions`. A kind is one file: the built-in one is `wla.models.wla`; an installed package adds others
by an entry point of the group ``wla.models`` whose name is the kind and whose value is its configuration class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float, UInt8
from pydantic import BeforeValidator, Field, SerializeAsAny
from torch import Tensor, nn

from wla.batch import Batch
from wla.config import Config
from wla.models.registry import BUILT_IN, ENTRY_POINTS
from wla.specs import ImageFit, RobotSpec
from wla.types import IGNORE_INDEX, ImageKey

Target = Literal["actions", "subgoal", "text"]
"""The part of a batch that a loss term learns from."""


@dataclass(frozen=True)
class ModelInterface:
    """Sizes of what a model reads and answers: data, prompts and robots have to fit them.

    images: string form of a `wla.types.ImageKey` -> side in pixels, in the order in which the model reads them.
    primary: the camera whose later image is a target. chunk: number of actions. image_tokens: image -> number of its
    placeholder tokens in a prompt; empty for a model without text. subgoal_size: side in pixels of the image that it
    learns to predict, None for a model that predicts no images. image_fit: how images become squares.
    """

    images: Mapping[str, int]
    primary: str
    state_dim: int
    action_dim: int
    chunk: int
    image_tokens: Mapping[str, int] = field(default_factory=dict)
    subgoal_size: int | None = None
    image_fit: ImageFit = "pad"

    def require_robot(self, spec: RobotSpec, *, model: str, robot: str, action_dim: int | None = None) -> None:
        """ValueError when state, actions or cameras are not the robot's; `model` and `robot` name both.

        action_dim: dimensions of the robot's actions as the model represents them (None: as the robot does).
        """
        for what, ours, theirs in (
            ("state", self.state_dim, spec.observation.state_dim),
            ("action", self.action_dim, spec.action.dim if action_dim is None else action_dim),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{model} is for {ours} {what} dimensions and {robot} has {theirs}; use those of one robot"
                )
        seen = spec.observation.cameras
        absent = [camera for camera in (ImageKey.parse(name).camera for name in self.images) if camera not in seen]
        if absent:
            raise ValueError(f"{model} needs camera {absent[0]!r} and {robot} has {list(seen)}; use those of one robot")


class RealtimeConfig(Config):
    """Real-time chunking that is learned (arXiv 2512.05964)."""

    max_delay: int = Field(default=0, ge=0)
    """Actions of the chunk before that a new one can continue, in control steps; 0: none. Training gives 0 .. max_delay
    of each chunk's actions, clean, and learns the others."""


class PolicyModelConfig(Config, ABC):
    """Base of the models' configurations. A subclass fixes `kind` (``kind: Literal["mine"] = "mine"``)."""

    kind: str
    loss_weights: Config
    """One field for each loss term: its weight in the sum that is minimised."""

    @property
    @abstractmethod
    def interface(self) -> ModelInterface:
        """Sizes of the inputs and outputs."""

    @abstractmethod
    def build(self, *, imagination: bool = True) -> PolicyModel[Any]:
        """Returns the model with random weights. imagination=False leaves out the parts that only predict images."""

    def with_max_delay(self, max_delay: int) -> PolicyModelConfig:
        """Returns this configuration for a model that learns to continue up to `max_delay` given actions.

        ValueError for a kind that cannot.
        """
        raise ValueError(f"realtime.max_delay: models of kind {self.kind!r} do not learn to continue given actions")

    def with_frozen_parts(self, other: PolicyModelConfig) -> PolicyModelConfig:
        """Returns this configuration for a model that is initialised from one with the configuration `other`.

        Parts that are never trained are configured as they are there.
        """
        return self


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
    """

    images: Mapping[str, UInt8[Tensor, "B _ _ 3"]]
    proprio: Float[Tensor, "B S"]
    prompts: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]
    layout: TextLayout


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
    """

    config: PolicyModelConfig
    loss_targets: ClassVar[Mapping[str, Target]]
    parts: ClassVar[Mapping[str, str]] = {}
    imagination_parts: ClassVar[tuple[str, ...]] = ()

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

    def enable_activation_checkpointing(self) -> None:
        """Recompute activations in the backward pass from now on. ValueError for a model that does not support it."""
        raise ValueError(f"models of kind {self.config.kind!r} do not recompute: set activation_checkpointing=false")


def target_mask(batch: Batch, target: Target) -> Bool[Tensor, ...]:
    """Positions of a batch that hold a target of that kind."""
    match target:
        case "actions":
            return batch.action_mask
        case "subgoal":
            return batch.subgoal_mask
        case "text":
            return batch.labels != IGNORE_INDEX


ConfigT = TypeVar("ConfigT", bound=PolicyModelConfig)
ModelT = TypeVar("ModelT", bound=PolicyModel[Any])


def require_config(config: PolicyModelConfig, kind: type[ConfigT], user: str) -> ConfigT:
    """Returns the configuration as one of that kind. ValueError, which begins with `user`, when it is of another."""
    if not isinstance(config, kind):
        raise ValueError(f"{user}: needs a model of kind {kind.model_fields['kind'].default!r}, not {config.kind!r}")
    return config


def require_model(model: PolicyModel[Any], kind: type[ModelT], user: str) -> ModelT:
    """Returns the model as one of that class. ValueError, which begins with `user`, when it is of another."""
    if not isinstance(model, kind):
        raise ValueError(f"{user}: needs a {kind.__name__} model, not one of kind {model.config.kind!r}")
    return model


def model_kinds() -> dict[str, EntryPoint]:
    """Every kind by name, built in or of an installed package. ValueError when two have the same name."""
    found = {kind: EntryPoint(kind, value, ENTRY_POINTS) for kind, value in BUILT_IN.items()}
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in found:
            raise ValueError(
                f"model kind {point.name!r} is defined twice, by {_owner(found[point.name])} and {_owner(point)}: "
                "uninstall one of the packages"
            )
        found[point.name] = point
    return found


@cache
def model_config_class(kind: str) -> type[PolicyModelConfig]:
    """The configuration class of a kind. ValueError when there is no such kind or its package cannot be imported."""
    kinds = model_kinds()
    if kind not in kinds:
        raise ValueError(
            f"no model kind {kind!r}; there are {', '.join(kinds)}; others come with packages (group {ENTRY_POINTS})"
        )
    point = kinds[kind]
    try:
        found = point.load()
    except Exception as error:  # importing somebody's package may raise anything
        raise ValueError(
            f"model kind {kind!r}: {_owner(point)} cannot be imported ({type(error).__name__}: {error}); repair or "
            "uninstall that package"
        ) from error
    if not (isinstance(found, type) and issubclass(found, PolicyModelConfig)):
        raise ValueError(f"model kind {kind!r}: {_owner(point)} is not a subclass of PolicyModelConfig")
    return found


def _owner(point: EntryPoint) -> str:
    package = f"{point.dist.name} " if point.dist is not None else ""
    return f"{package}({point.value})"


def _resolve_kind(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "kind" not in value:
        raise ValueError(f"names no kind of model; there are {', '.join(model_kinds())}")
    return model_config_class(value["kind"]).model_validate(value)


AnyModelConfig = Annotated[SerializeAsAny[PolicyModelConfig], BeforeValidator(_resolve_kind)]
"""Type of a field that holds a model's configuration of any kind; `kind` identifies it."""
