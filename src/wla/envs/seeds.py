"""Seed ranges that keep training, validation and evaluation episodes apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Use = Literal["training", "validation", "evaluation"]

EVALUATION_START = 100_000
_RANGES: dict[Use, range] = {
    "training": range(0, 10_000),
    "validation": range(10_000, 20_000),
    "evaluation": range(EVALUATION_START, 2**31),
}


def seed_range(use: Use) -> range:
    """All seeds that may serve `use`."""
    return _RANGES[use]


def require_seeds(seeds: Iterable[int], use: Use) -> None:
    """Raise ValueError naming the first seed that lies outside the range of `use`."""
    allowed = _RANGES[use]
    for seed in seeds:
        if seed not in allowed:
            raise ValueError(
                f"seed {seed} is not for {use}: use seeds from {allowed.start} to {allowed.stop - 1} "
                f"(training, validation and evaluation never share episodes)"
            )


def is_evaluation(seed: int | None) -> bool:
    """Whether an episode of this seed belongs to evaluation, and so gets the phrasings kept for it."""
    return seed is not None and seed >= EVALUATION_START
