"""Random initial positions that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REACH_X, REACH_Y = 0.18, 0.13
"""Half sizes of the area of initial positions, metres; the tools reach slightly further."""

Point = tuple[float, float]


@dataclass(frozen=True)
class PlacementRegion:
    """Region for the position of one object.

    Attributes:
        radius: of the circle that the object needs for itself, metres.
        x: half size of the box of possible centres, metres.
        y: half size of the box of possible centres, metres.
        centre: of the box, metres.
    """

    radius: float
    x: float = REACH_X
    y: float = REACH_Y
    centre: Point = (0.0, 0.0)


def placement(rng: np.random.Generator, regions: Sequence[PlacementRegion], *, tries: int = 40) -> list[Point]:
    """Samples positions whose circles do not overlap, by rejection.

    Args:
        rng: random generator.
        regions: one region for each object.
        tries: candidates for each object before all positions are sampled again.

    Returns:
        One position for each region, in order, metres.
    """
    for _ in range(1000):
        placed = _attempt(rng, regions, tries)
        if placed is not None:
            return placed
    raise AssertionError(f"no room for {len(regions)} objects: the task has more than fit on the table")


def _attempt(rng: np.random.Generator, regions: Sequence[PlacementRegion], tries: int) -> list[Point] | None:
    placed: list[Point] = []
    for region in regions:
        candidates = rng.uniform(-1.0, 1.0, (tries, 2)) * (region.x, region.y) + region.centre
        clear = np.ones(tries, dtype=bool)
        for other, (x, y) in zip(regions, placed, strict=False):
            clear &= np.hypot(candidates[:, 0] - x, candidates[:, 1] - y) > region.radius + other.radius
        if not clear.any():
            return None
        x, y = candidates[int(np.argmax(clear))]
        placed.append((float(x), float(y)))
    return placed
