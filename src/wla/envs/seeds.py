"""Seed ranges that keep training, validation and evaluation episodes apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

Split = Literal["training", "validation", "evaluation"]

EVALUATION_START = 100_000
SEED_RANGES: Mapping[Split, range] = {
    "training": range(0, 10_000),
    "validation": range(10_000, 20_000),
    "evaluation": range(EVALUATION_START, 2**31),
}
"""The ranges of every environment family that does not bring its own."""
BENCHMARK_SEED_RANGES: Mapping[Split, range] = {**SEED_RANGES, "evaluation": range(300_000, 310_000)}
"""Those of benchmarks that others wrote."""


def seed_range(split: Split) -> range:
    """Returns all seeds of a split."""
    return SEED_RANGES[split]


def require_seeds(seeds: Iterable[int], split: Split, ranges: Mapping[Split, range] = SEED_RANGES) -> None:
    """Raises ValueError with the first seed that is outside of the range of `split`."""
    allowed = ranges[split]
    for seed in seeds:
        if seed not in allowed:
            raise ValueError(
                f"seed {seed} is not for {split}: use seeds from {allowed.start} to {allowed.stop - 1} "
                f"(training, validation and evaluation never share episodes)"
            )


def is_evaluation(seed: int | None) -> bool:
    """Returns whether a seed is reserved for evaluation, whose instructions are phrased by the test templates."""
    return seed is not None and seed >= EVALUATION_START
