"""What the numbers of a whole dataset give away: dimensions that never change, values that leap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from wla.data.validation.issues import Issue

JUMP_FACTOR, JUMP_FRACTION = 20.0, 0.25
"""A leap is a change over one frame of more than 20 times what 95 % of the changes stay below, and of more than a
quarter of the dimension's range. Measurement noise is small beside the range, quick motions beside each other."""
COMMON_FRACTION = 0.1
"""A dimension that leaps in more than a tenth of the episodes works like that: a gripper that is open or closed."""


def dimension_names(names: Any, width: int) -> list[str]:
    """Names of dimensions, in whichever form a dataset has them: list, list in a list, {"motors": [...]}, or none."""
    if isinstance(names, Mapping):
        names = [name for part in names.values() for name in (part if isinstance(part, list) else [part])]
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    return list(map(str, names)) if isinstance(names, list) and len(names) == width else list(map(str, range(width)))


def check_range(
    key: str, names: Any, episodes: Mapping[int, Float32[np.ndarray, "_ D"]], *, jumps: bool
) -> list[Issue]:
    """Constant dimensions of a column and, if asked for, leaps. episodes: finite numbers of each."""
    if not episodes:
        return []
    values = list(episodes.values())
    low, high = np.min([part.min(0) for part in values], axis=0), np.max([part.max(0) for part in values], axis=0)
    named = dimension_names(names, len(low))
    issues = [
        Issue("warning", None, f"{key!r}: dimension {named[i]} is always {low[i]:g}", "see whether it should move")
        for i in np.flatnonzero(low == high)
    ]
    return issues + (_jumps(key, named, episodes, high - low) if jumps else [])


def _jumps(
    key: str, names: list[str], episodes: Mapping[int, np.ndarray], span: Float32[np.ndarray, " D"]
) -> list[Issue]:
    steps = {number: np.abs(np.diff(part, axis=0)) for number, part in episodes.items() if len(part) > 1}
    if not steps:
        return []
    usual = np.quantile(np.concatenate(list(steps.values())), 0.95, axis=0, method="lower")
    limit = np.where(usual > 0, np.maximum(JUMP_FACTOR * usual, JUMP_FRACTION * span), np.inf)
    found: dict[int, list[tuple[int, int]]] = {}
    for number, part in steps.items():
        for frame, dimension in np.argwhere(part > limit):
            found.setdefault(int(dimension), []).append((number, int(frame) + 1))
    issues = []
    for dimension, places in sorted(found.items()):
        first = {number: frame for number, frame in reversed(places)}
        if len(first) > max(1, COMMON_FRACTION * len(episodes)):
            continue
        for number, frame in sorted(first.items()):
            change = steps[number][frame - 1, dimension]
            what = f"{key!r}: dimension {names[dimension]} leaps by {change:g} at frame {frame}"
            what += f", 95 % of its changes are below {usual[dimension]:g}"
            issues.append(Issue("warning", number, what, "look at the episode, remove it if it is damaged"))
    return issues
