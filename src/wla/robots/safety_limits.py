"""Limits of a robot that no action may pass, whatever a policy asks for."""

from __future__ import annotations

from math import inf
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, model_validator

from wla.config import Config
from wla.specs import ActionSpec, Limit

Rate = Annotated[float, Field(gt=0, le=inf, allow_inf_nan=True)]
"""A positive limit, infinite where there is none."""


class SafetyLimits(Config):
    """Limits per action dimension, in its unit, from the robot's data sheet and its cell, never from recorded data.

    Position limits hold for what the robot is commanded to: for a delta dimension that is the measured value of the
    state dimension that it moves, plus the action.
    """

    position_low: tuple[Limit, ...]
    position_high: tuple[Limit, ...]
    """The workspace, for dimensions that are coordinates; the range of the joint, for joints."""
    velocity: tuple[Rate, ...]
    """Per second."""
    acceleration: tuple[Rate, ...]
    """Per second squared."""
    moves: tuple[str | None, ...] = ()
    """The state dimension that each action dimension moves. Left out: the one of the same name, or of that name after
    a leading d (dx moves x)."""
    hold_after_s: PositiveFloat = 0.1
    """Seconds without a fresh action after which the robot holds; at least one control period."""
    ramp_s: float = Field(default=0.5, ge=0)
    """Seconds in which the velocity limits grow back from nothing after a hold."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = (self.position_low, self.position_high, self.velocity, self.acceleration)
        if len({len(part) for part in parts} | ({len(self.moves)} if self.moves else set())) != 1:
            raise ValueError(
                "position_low, position_high, velocity, acceleration and moves need an entry per dimension"
            )
        if any(low >= high for low, high in zip(self.position_low, self.position_high, strict=True)):
            raise ValueError("position_low is below position_high in every dimension")
        return self

    @classmethod
    def of(cls, action: ActionSpec, *, velocity: float = inf, acceleration: float = inf) -> Self:
        """The same limits of motion in all dimensions, and the position limits of the absolute ones from the spec."""
        absolute = [kind == "absolute" for kind in action.kinds]
        return cls(
            position_low=tuple(low if known else -inf for low, known in zip(action.low, absolute, strict=True)),
            position_high=tuple(high if known else inf for high, known in zip(action.high, absolute, strict=True)),
            velocity=(velocity,) * action.dim,
            acceleration=(acceleration,) * action.dim,
        )
