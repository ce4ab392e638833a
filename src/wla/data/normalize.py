"""Statistics of states and actions, and the scaling to [-1, 1] that training, evaluation and serving share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float32
from pydantic import model_validator

from wla.config import Config, Record
from wla.data.lerobot.reader import LeRobotDataset


class VectorStatistics(Record):
    """Statistics per dimension over `count` frames, in the units of the robot's spec.

    Published statistics have only min and max, which is all that scaling needs: the other fields are then None.
    """

    min: tuple[float, ...]
    max: tuple[float, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    count: int | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({len(values) for values in (self.min, self.max, self.mean, self.std) if values is not None}) != 1:
            raise ValueError("min, max, mean and std have different lengths")
        for i, (low, high) in enumerate(zip(self.min, self.max, strict=True)):
            if not low <= high:
                raise ValueError(f"dimension {i}: min {low} is above max {high}")
            if not math.isfinite(high - low):
                raise ValueError(f"dimension {i}: min {low} and max {high} do not span a finite range")
        return self

    @property
    def dim(self) -> int:
        return len(self.min)

    @classmethod
    def of(cls, arrays: Sequence[Float32[np.ndarray, "_ D"]]) -> Self:
        """The statistics of all rows of all arrays. ValueError when their dimensions differ."""
        dims = sorted({array.shape[1] for array in arrays})
        if len(dims) != 1:
            raise ValueError(f"statistics over vectors of different dimensions {dims}; use datasets of one robot")
        rows = np.concatenate(arrays)
        # float64, or the mean of a million frames loses digits.
        mean, std = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
        low, high, center, deviation = (tuple(map(float, v)) for v in (rows.min(0), rows.max(0), mean, std))
        return cls(min=low, max=high, mean=center, std=deviation, count=len(rows))


class Statistics(Config):
    """Statistics of the states and actions that a checkpoint was trained on. action is None for action-free data."""

    state: VectorStatistics
    action: VectorStatistics | None = None


def compute_statistics(datasets: Sequence[LeRobotDataset]) -> Statistics:
    """Statistics of all frames of datasets of one robot; actions over those that have them."""
    actions = [dataset.actions for dataset in datasets if dataset.actions is not None]
    return Statistics(
        state=VectorStatistics.of([dataset.state for dataset in datasets]),
        action=VectorStatistics.of(actions) if actions else None,
    )


class MinMaxNormalizer:
    """Maps [min, max] of every dimension to [-1, 1] and back.

    Values outside the statistics are not clipped: they map outside [-1, 1]. A constant dimension
    (min = max) maps to 0, and any value maps back to the constant.
    """

    def __init__(self, statistics: VectorStatistics, *, dim: int, name: str) -> None:
        """name: of the vector, in messages. ValueError when the statistics do not have `dim` dimensions."""
        if statistics.dim != dim:
            raise ValueError(
                f"{name} has {dim} dimensions and its statistics {statistics.dim}; compute them from data of this robot"
            )
        low, high = np.array(statistics.min), np.array(statistics.max)
        self._name = name
        self._center = (low + high) / 2
        self._radius = (high - low) / 2
        self._inverse = np.divide(1.0, self._radius, out=np.zeros(dim), where=self._radius > 0)

    @property
    def dim(self) -> int:
        return len(self._center)

    def normalize(self, values: Float32[np.ndarray, "*B D"]) -> Float32[np.ndarray, "*B D"]:
        """From the robot's units to [-1, 1]. ValueError for a different dimension."""
        return ((self._checked(values) - self._center) * self._inverse).astype(np.float32)

    def denormalize(self, values: Float32[np.ndarray, "*B D"]) -> Float32[np.ndarray, "*B D"]:
        """From [-1, 1] to the robot's units. ValueError for a different dimension."""
        return (self._checked(values) * self._radius + self._center).astype(np.float32)

    def _checked(self, values: np.ndarray) -> np.ndarray:
        if values.shape[-1] != len(self._center):
            raise ValueError(f"{self._name} has {values.shape[-1]} dimensions, its statistics {len(self._center)}")
        return values.astype(np.float64)
