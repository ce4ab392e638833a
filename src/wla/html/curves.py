"""Curves over the frames of an episode, packed so that a page with hundreds of them stays small."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Style = Literal["line", "step"]
MAX_POINTS = 600
"""Largest number of points of a curve; every second, third .. value is taken of longer ones."""
_LEVELS = 65534
"""A value is one of this many levels between the curve's lowest and highest; 65535 stands for a missing one."""


def pack_curve(
    name: str,
    values: Float[np.ndarray, " N"],
    *,
    unit: str = "",
    limits: tuple[float, float] | None = None,
    style: Style = "line",
) -> dict[str, Any]:
    """Returns a curve as JSON: 16-bit levels between low and high, in base64.

    Args:
        name: of the curve.
        values: one per frame; what is not finite is left out of the curve.
        unit: of the values.
        limits: range of the axis, widened where values lie outside; by default the range of the values.
        style: a line through the values, or steps that hold each value until the next.
    """
    stride = -(-len(values) // MAX_POINTS) or 1
    points = values[::stride].astype(np.float64)
    finite = points[np.isfinite(points)]
    bounds = [*finite.tolist(), *(limit for limit in limits or () if np.isfinite(limit))] or [0.0]
    low, high = min(bounds), max(bounds)
    levels = np.full(len(points), _LEVELS + 1, "<u2")
    if high > low:
        # Halves, because the difference of two large numbers may have no value.
        fractions = (finite / 2 - low / 2) / (high / 2 - low / 2)
        levels[np.isfinite(points)] = np.round(fractions * _LEVELS)
    else:
        levels[np.isfinite(points)] = _LEVELS // 2  # a line in the middle
    packed = base64.b64encode(levels.tobytes()).decode()
    return {"name": name, "unit": unit, "low": low, "high": high, "style": style, "stride": stride, "data": packed}


def pack_columns(
    names: Sequence[str],
    values: Float[np.ndarray, "N D"],
    *,
    units: Sequence[str] = (),
    limits: Sequence[tuple[float, float]] = (),
    style: Style = "line",
) -> list[dict[str, Any]]:
    """Returns one curve per column; units and limits may be left out."""
    return [
        pack_curve(
            name,
            values[:, index],
            unit=units[index] if units else "",
            limits=limits[index] if limits else None,
            style=style,
        )
        for index, name in enumerate(names)
    ]
