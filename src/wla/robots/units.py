"""Units that are converted into each other."""

from __future__ import annotations

import math

CONVERSIONS = {
    ("deg", "rad"): math.pi / 180,
    ("rad", "deg"): 180 / math.pi,
    ("mm", "m"): 0.001,
    ("m", "mm"): 1000.0,
    ("%", "1"): 0.01,
    ("1", "%"): 100.0,
}
"""(unit, other unit) -> what a number is multiplied with."""


def conversion(unit: str, wanted: str) -> float | None:
    """What a number in `unit` is multiplied with to be in `wanted`; None where they are not converted."""
    return 1.0 if unit == wanted else CONVERSIONS.get((unit, wanted))
