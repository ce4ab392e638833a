"""Random places that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REACH_X, REACH_Y = 0.18, 0.13
"""Half sizes (metres) of the area in which objects start; the tools reach a little further."""

Point = tuple[float, float]


@dataclass(frozen=True)
class PlacementRegion:
    """A wish for a place: a circle of `radius` whose centre lies in the box of half sizes `x`, `y` about `centre`."""

    radius: float
    x: float = REACH_X
    y: float = REACH_Y
    centre: Point = (0.0, 0.0)


def placement(rng: np.random.Generator, regions: Sequence[PlacementRegion], *, tries: int = 40) -> list[Point]:
    """Centres, one for each spot in order, whose circles do not overlap. Starts over until everything fits."""
    for _ in range(1000):
        placed = _attempt(rng, regions, tries)
        if placed is not None:
            return placed
    raise AssertionError(f"no room for {len(regions)} objects: the task asks for more than the table holds")


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
