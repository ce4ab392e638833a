"""Configuration of a policy's model, of any kind: the built-in one, and those of installed packages.

Apart from `wla.models.model`, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from wla.config import Config
from wla.models.registry import BUILT_IN, ENTRY_POINTS
from wla.specs import ImageFit, RobotSpec
from wla.types import ImageKey, image_name_hint

if TYPE_CHECKING:
    from wla.models.model import PolicyModel


RecomputedPart = Literal["backbone", "action_expert", "world_expert"]
"""A part of a model whose activations may be computed again in the backward pass."""


@dataclass(frozen=True)
class ModelInterface:
    """Sizes of what a model reads and answers: data, prompts and robots have to fit them.

    images: string form of a `wla.types.ImageKey` -> side in pixels, in the order in which the model reads them.
    primary: the camera whose later image is a target. chunk: number of actions. image_tokens: image -> number of its
    placeholder tokens in a prompt; empty for a model without text. subgoal_size: side in pixels of the later image
    that it learns from, None for a model that learns from none. predicts_images: whether it predicts that image, too.
    image_fit: how images become squares.
    """

    images: Mapping[str, int]
    primary: str
    state_dim: int
    action_dim: int
    chunk: int
    image_tokens: Mapping[str, int] = field(default_factory=dict)
    subgoal_size: int | None = None
    predicts_images: bool = True
    image_fit: ImageFit = "pad"

    @property
    def imagined_size(self) -> int | None:
        """Side in pixels of the images that it predicts; None for a model that predicts none."""
        return self.subgoal_size if self.predicts_images else None

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
            raise ValueError(
                f"{model} needs camera {absent[0]!r} and {robot} has {list(seen)}; use those of one robot"
                f"{image_name_hint(seen)}"
            )

    def require_robots(self, specs: Sequence[RobotSpec], action_dims: Sequence[int], *, model: str, robot: str) -> None:
        """ValueError when the model is not for these robots; `model` and `robot` name both.

        A single one has to fit it exactly, see `require_robot`. Of several the widest does: the states and actions of
        the others are padded, and a camera that a robot lacks is black.
        """
        if len(specs) == 1:
            self.require_robot(specs[0], model=model, robot=robot, action_dim=action_dims[0])
            return
        names = ", ".join(spec.embodiment for spec in specs)
        for what, ours, theirs in (
            ("state", self.state_dim, max(spec.observation.state_dim for spec in specs)),
            ("action", self.action_dim, max(action_dims)),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{model} is for {ours} {what} dimensions and the widest of the robots {names} has {theirs}: make "
                    f"{what}_dim {theirs}"
                )
        seen = {self.primary, *(camera for spec in specs for camera in spec.observation.cameras)}
        absent = [camera for camera in self.cameras if camera not in seen]
        if absent:
            raise ValueError(f"{model} needs camera {absent[0]!r} and none of the robots {names} has it")

    @property
    def cameras(self) -> tuple[str, ...]:
        """Every camera whose images it reads or predicts, the primary one first."""
        return tuple(dict.fromkeys((self.primary, *(ImageKey.parse(name).camera for name in self.images))))


class RealtimeConfig(Config):
    """Real-time chunking that is learned (arXiv 2512.05964)."""

    max_delay: int = Field(default=0, ge=0)
    """Actions of the chunk before that a new one can continue, in control steps; 0: none. Training gives 0 .. max_delay
    of each chunk's actions, clean, and learns the others."""
    prefix_noise: float = Field(default=0.0, ge=0, le=2)
    """Errors of the given actions in training: their standard deviation, in normalised units, is drawn from 0 to this.
    The other actions learn to make up for them: those of deltas lead to the same place as without. 0: none."""

    @model_validator(mode="after")
    def _require_given_actions(self) -> Self:
        if self.prefix_noise and not self.max_delay:
            raise ValueError("prefix_noise disturbs given actions, and none are given; set max_delay")
        return self


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

    def with_realtime(self, realtime: RealtimeConfig, delta_dims: tuple[int, ...]) -> PolicyModelConfig:
        """Returns this configuration for a model that learns to continue given actions. delta_dims: dimensions of its
        actions that are deltas.

        ValueError for a kind that cannot.
        """
        raise ValueError(f"realtime.max_delay: models of kind {self.kind!r} do not learn to continue given actions")

    def with_frozen_parts(self, other: PolicyModelConfig) -> PolicyModelConfig:
        """Returns this configuration for a model that is initialised from one with the configuration `other`.

        Parts that are never trained are configured as they are there.
        """
        return self


ConfigT = TypeVar("ConfigT", bound=PolicyModelConfig)


def require_config(config: PolicyModelConfig, kind: type[ConfigT], user: str) -> ConfigT:
    """Returns the configuration as one of that kind. ValueError, which begins with `user`, when it is of another."""
    if not isinstance(config, kind):
        raise ValueError(f"{user}: needs a model of kind {' or '.join(map(repr, _kinds(kind)))}, not {config.kind!r}")
    return config


def _kinds(of: type[PolicyModelConfig]) -> list[str]:
    """The kinds of a class, and of those that derive from it."""
    own = of.model_fields["kind"].default
    return [own] if isinstance(own, str) else [kind for each in of.__subclasses__() for kind in _kinds(each)]


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
