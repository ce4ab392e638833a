"""What reinforcement learning keeps of a sampled chunk: the encoding that it came from, and one stochastic step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Rows:
    """Base of dataclasses whose fields all have the same rows: tensors, lists of tensors, other `Rows`, or None."""

    def rows(self, index: Int64[Tensor, " N"]) -> Self:
        """The rows with these numbers."""
        return self._made([_rows(getattr(self, name), index) for name in self._names()])

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts, copied."""
        return cls._made([_cat([getattr(part, name) for part in parts]) for name in cls._names()])

    @classmethod
    def _names(cls) -> list[str]:
        return [field.name for field in fields(cls)]  # type: ignore[arg-type]  # subclasses are dataclasses

    @classmethod
    def _made(cls, values: Sequence[object]) -> Self:
        return cls(**dict(zip(cls._names(), values, strict=True)))


@dataclass(frozen=True)
class ActionEncoding(Rows):
    """The part of an encoding that actions are sampled from; a row per call of the policy.

    query_hidden: the `action_states` of a `BackboneEncoding`. proprio, action_dims: as in `ModelInputs`.
    """

    query_hidden: list[Float[Tensor, "B Q D"]]
    proprio: Float[Tensor, "B S"]
    action_dims: Int64[Tensor, " B"] | None


@dataclass(frozen=True)
class Trajectory(Rows):
    """Sampled chunks in normalised units, and the stochastic step of the flow of each.

    actions: end of the flow. before, after: points around the stochastic step, `after` drawn from a normal distribution
    of this mean. step, num_steps: number of that step, and of all steps.
    """

    actions: Float[Tensor, "B n A"]
    before: Float[Tensor, "B n A"]
    after: Float[Tensor, "B n A"]
    mean: Float[Tensor, "B n A"]
    step: Int64[Tensor, " B"]
    num_steps: Int64[Tensor, " B"]


def _rows(value: Any, index: Tensor) -> Any:
    match value:
        case None:
            return None
        case list():
            return [each[index] for each in value]
        case Rows():
            return value.rows(index)
        case _:
            return value[index]


def _cat(values: Sequence[Any]) -> Any:
    match values[0]:
        case None:
            return None
        case list():
            return [torch.cat(layers) for layers in zip(*values, strict=True)]
        case Rows():
            return type(values[0]).cat(values)
        case _:
            return torch.cat(list(values))
