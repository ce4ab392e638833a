"""Statistics of states and actions, and their normalisation, which training, evaluation and serving share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from jaxtyping import Float, Float32, Float64
from pydantic import model_validator

from wla.config import Config, Record
from wla.data.lerobot.reader import LeRobotDataset
from wla.foreign import one_line

NormalizationMode = Literal["MIN_MAX", "MEAN_STD", "QUANTILES", "QUANTILE10", "IDENTITY"]
"""LeRobot's names: [min, max], [q01, q99] or [q10, q90] to [-1, 1]; standard deviations from the mean; unchanged."""
QUANTILES = {"q01": 0.01, "q10": 0.1, "q90": 0.9, "q99": 0.99}
MODE_FIELDS = {
    "MIN_MAX": ("min", "max"),
    "MEAN_STD": ("mean", "std"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}
"""The statistics that a mode needs."""
MIN_RANGE = 1e-4
"""Range below which a dimension counts as constant: a tenth of a millimetre, or a hundredth of a degree. Scaled to
[-1, 1], the noise of a joint that never moved would become a signal, and any other position of it an enormous one."""


class NormalizationConfig(Config):
    """Normalisation of states and of actions: MIN_MAX, MEAN_STD, QUANTILES (q01 .. q99), QUANTILE10 (q10 .. q90) or
    IDENTITY, as LeRobot names them."""

    state: NormalizationMode = "MIN_MAX"
    action: NormalizationMode = "MIN_MAX"


class VectorStatistics(Record):
    """Statistics per dimension over `count` frames, in the units of the robot's spec.

    Published statistics have only min and max, which is all that MIN_MAX needs: the other fields are then None.
    """

    min: tuple[float, ...]
    max: tuple[float, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    q01: tuple[float, ...] | None = None
    q10: tuple[float, ...] | None = None
    q90: tuple[float, ...] | None = None
    q99: tuple[float, ...] | None = None
    count: int | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = self.known
        if len({len(values) for values in known.values()}) != 1:
            raise ValueError(f"{', '.join(known)} have different lengths")
        for i, (low, high) in enumerate(zip(self.min, self.max, strict=True)):
            if not low <= high:
                raise ValueError(f"dimension {i}: min {low} is above max {high}")
            if not math.isfinite(high - low):
                raise ValueError(f"dimension {i}: min {low} and max {high} do not span a finite range")
        for name, values in known.items():
            for i, value in enumerate(values):
                if not math.isfinite(value) or (name == "std" and value < 0):
                    raise ValueError(f"dimension {i}: {name} is {value}")
        return self

    @property
    def known(self) -> dict[str, tuple[float, ...]]:
        """Name -> values per dimension of the statistics that are known."""
        values = {name: getattr(self, name) for name in ("min", "max", "mean", "std", *QUANTILES)}
        return {name: each for name, each in values.items() if each is not None}

    @property
    def dim(self) -> int:
        return len(self.min)

    def agrees(self, other: VectorStatistics) -> bool:
        """Returns True where all that both know is equal: statistics of earlier versions lack quantiles."""
        ours, theirs = self.known, other.known
        return all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())

    @classmethod
    def of(cls, arrays: Sequence[Float32[np.ndarray, "_ D"]]) -> Self:
        """The statistics of all rows of all arrays. ValueError when their dimensions differ."""
        dims = sorted({array.shape[1] for array in arrays})
        if len(dims) != 1:
            raise ValueError(f"statistics over vectors of different dimensions {dims}; use datasets of one robot")
        rows = np.concatenate(arrays)
        # float64, or the mean of a million frames loses digits.
        values = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0, dtype=np.float64)}
        values["std"] = rows.std(0, dtype=np.float64)
        values |= zip(QUANTILES, np.quantile(rows, list(QUANTILES.values()), axis=0), strict=True)
        return cls(**{name: tuple(map(float, each)) for name, each in values.items()}, count=len(rows))


class Statistics(Config):
    """Statistics of the states and actions that a checkpoint was trained on. action is None for action-free data."""

    state: VectorStatistics
    action: VectorStatistics | None = None

    def agrees(self, other: Statistics) -> bool:
        """Returns True where all that both know is equal."""
        if self.action is None or other.action is None:
            return self.action == other.action and self.state.agrees(other.state)
        return self.state.agrees(other.state) and self.action.agrees(other.action)


def compute_statistics(datasets: Sequence[LeRobotDataset]) -> Statistics:
    """Statistics of all frames of datasets of one robot; actions over those that have them."""
    actions = [dataset.actions for dataset in datasets if dataset.actions is not None]
    return Statistics(
        state=VectorStatistics.of([dataset.state for dataset in datasets]),
        action=VectorStatistics.of(actions) if actions else None,
    )


class Normalizer:
    """Maps the robot's units to the model's by the statistics that a mode needs, and back.

    Values outside the statistics are not clipped: they map outside [-1, 1]. A constant dimension, whose range is below
    `MIN_RANGE`, maps to 0, and any value maps back to the middle of that range. Where only the mode's own range is so
    narrow, as the quantiles of a gripper that seldom closes are, [min, max] is used. IDENTITY changes nothing.

    notes: a line about the dimensions to which that applies, if any. center, scale: values that map to 0, and the
    distance from there to 1; the scale of a constant dimension is 0.
    """

    def __init__(
        self,
        statistics: VectorStatistics,
        mode: NormalizationMode = "MIN_MAX",
        *,
        name: str,
        dimensions: Sequence[str],
    ) -> None:
        """name, dimensions: of the vector, in messages. ValueError when the statistics have another number of
        dimensions, or lack what the mode needs."""
        dim = len(dimensions)
        if statistics.dim != dim:
            raise ValueError(
                f"{name} has {dim} dimensions and its statistics {statistics.dim}; compute them from data of this robot"
            )
        self._name = name
        self.center, self.scale = np.zeros(dim), np.ones(dim)
        self.notes: list[str] = []
        if mode != "IDENTITY":
            self.center, self.scale = center_and_scale(statistics, mode, name)
            low, high = np.array(statistics.min), np.array(statistics.max)
            constant, narrow = high - low < MIN_RANGE, 2 * self.scale < MIN_RANGE
            self.center = np.where(narrow, (low + high) / 2, self.center)
            self.scale = np.where(constant, 0.0, np.where(narrow, (high - low) / 2, self.scale))
            self._note(constant & (low < high), f"vary by less than {MIN_RANGE:g} and count as constant", dimensions)
            self._note(narrow & ~constant, f"hardly vary in {mode}; their min and max are used", dimensions)
        self.inverse_scale = np.divide(1.0, self.scale, out=np.zeros(dim), where=self.scale > 0)

    @property
    def dim(self) -> int:
        return len(self.center)

    def normalize(self, values: Float[np.ndarray, "*B D"]) -> Float32[np.ndarray, "*B D"]:
        """From the robot's units to the model's. ValueError for a different dimension."""
        return ((self._checked(values) - self.center) * self.inverse_scale).astype(np.float32)

    def denormalize(self, values: Float[np.ndarray, "*B D"]) -> Float32[np.ndarray, "*B D"]:
        """From the model's units to the robot's. ValueError for a different dimension."""
        return (self._checked(values) * self.scale + self.center).astype(np.float32)

    def _note(self, which: np.ndarray, text: str, dimensions: Sequence[str]) -> None:
        if which.any():
            named = ", ".join(one_line(dimensions[int(i)]) for i in np.flatnonzero(which))
            self.notes.append(f"{self._name}: these dimensions {text}: {named}")

    def _checked(self, values: np.ndarray) -> np.ndarray:
        if values.shape[-1] != self.dim:
            raise ValueError(f"{self._name} has {values.shape[-1]} dimensions, its statistics {self.dim}")
        return values.astype(np.float64)


def center_and_scale(
    statistics: VectorStatistics, mode: NormalizationMode, name: str
) -> tuple[Float64[np.ndarray, " D"], Float64[np.ndarray, " D"]]:
    known, (first, second) = statistics.known, MODE_FIELDS[mode]
    missing = [field for field in (first, second) if field not in known]
    if missing:
        raise ValueError(
            f"{name}: {mode} needs {first} and {second}, and its statistics have only {', '.join(known)}; compute them "
            "from the datasets (`wla data stats DATASET --out FILE` writes such a file), or use another mode"
        )
    low, high = np.array(known[first]), np.array(known[second])
    return (low, high) if mode == "MEAN_STD" else ((low + high) / 2, (high - low) / 2)
