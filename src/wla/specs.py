"""Robot specs: names, units, frames and rates of actions and observations. A mismatch raises, it never only warns."""

from __future__ import annotations

from math import inf
from typing import Annotated, Final, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from wla.config import Config
from wla.foreign import one_line, shown

UNKNOWN: Final = "unknown"
"""Unit, frame or convention that nobody has stated: data do not show it, and it is never guessed."""
Frame = Literal["world", "tool", "joint", "unknown"]
ImageFit = Literal["pad", "crop", "stretch"]
"""How an image becomes a square: padded with black, its middle cut out, or stretched."""
Limit = Annotated[float, Field(ge=-inf, le=inf, allow_inf_nan=True)]
"""A limit of an action, infinite where there is none; not NaN."""


class ActionSpec(Config):
    """An action vector. names, units, kinds, low and high have one entry per dimension."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    kinds: tuple[Literal["delta", "absolute"], ...]
    low: tuple[Limit, ...]
    high: tuple[Limit, ...]
    frame: Frame
    gripper: str
    """Sign convention of the gripper, e.g. '-1 open .. 1 closed'."""
    rate_hz: PositiveFloat
    """Control frequency."""
    limits: Literal["stated", "data"] = "stated"
    """Origin of low and high: stated by the robot's owner, or the range of a dataset's actions, which another dataset
    of the same robot exceeds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        lengths = {len(part) for part in (self.names, self.units, self.kinds, self.low, self.high)}
        if len(lengths) != 1 or not self.names:
            raise ValueError("names, units, kinds, low and high need one entry for each dimension, and at least one")
        crossed = [name for name, low, high in zip(self.names, self.low, self.high, strict=True) if low > high]
        if crossed:
            raise ValueError(f"the lower limit of dimension {crossed[0]!r} is above the upper one")
        return self

    @property
    def dim(self) -> int:
        return len(self.names)


class ObservationSpec(Config):
    """An observation: cameras (name -> (height, width) in pixels, the primary camera first) and the state vector."""

    cameras: dict[str, tuple[PositiveInt, PositiveInt]]
    state_names: tuple[str, ...]
    state_units: tuple[str, ...]
    state_frame: Frame

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.cameras:
            raise ValueError("cameras: at least one is needed, the primary one")
        if len(self.state_names) != len(self.state_units):
            raise ValueError("state_names and state_units need one entry for each dimension")
        return self

    @property
    def state_dim(self) -> int:
        return len(self.state_names)

    @property
    def primary_camera(self) -> str:
        return next(iter(self.cameras))


class RobotSpec(Config):
    """Interface of a robot to a policy: stored in datasets and checkpoints, and compared whenever two are combined."""

    embodiment: str
    action: ActionSpec
    observation: ObservationSpec

    def require_equal(self, other: RobotSpec, *, ours: str, theirs: str) -> None:
        """ValueError that names the first differing field of two specs. Limits from data are not compared.

        Args:
            other: the spec to compare with.
            ours: owner of this spec in the message, e.g. "the policy".
            theirs: owner of the other spec in the message.
        """
        our_fields, their_fields = _flatten(self.model_dump()), _flatten(other.model_dump())
        from_data = "data" in (self.action.limits, other.action.limits)
        ignored = {"action.low", "action.high", "action.limits"} if from_data else set()
        for key in sorted((our_fields.keys() | their_fields.keys()) - ignored):
            if our_fields.get(key) != their_fields.get(key):
                our_value, their_value = shown(our_fields.get(key)), shown(their_fields.get(key))
                raise ValueError(
                    f"{ours} and {theirs} are for different robots: {one_line(key)} is {our_value} in {ours} and "
                    f"{their_value} in {theirs}. Use a policy, dataset and environment of the same robot."
                )

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the fields that nobody has stated, in full or in part."""
        action, observation = self.action, self.observation
        fields = {
            "action.units": action.units,
            "action.frame": (action.frame,),
            "action.gripper": (action.gripper,),
            "observation.state_units": observation.state_units,
            "observation.state_frame": (observation.state_frame,),
        }
        return tuple(name for name, values in fields.items() if UNKNOWN in values)

    def require_known(self, owner: str) -> None:
        """ValueError when a field is unknown: for whatever drives a robot. `owner` names the spec in the message."""
        if self.unknown:
            raise ValueError(
                f"{owner}: of the robot {self.embodiment!r}, {', '.join(self.unknown)} are unknown, so nothing may be "
                "driven with it; state them in its robot file, and train with that"
            )


def _flatten(tree: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat
