"""Checks of the numbers over a whole dataset: constant dimensions, jumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from wla.data.normalize import MIN_RANGE
from wla.data.validation.issues import Issue

JUMP_FACTOR, JUMP_FRACTION = 20.0, 0.25
"""A jump is a change over one frame that exceeds 20 times the 95 % quantile of the changes, and a quarter of the
dimension's range. The second limit excludes measurement noise, the first one fast motions."""
HINT = "check whether it should change"
COMMON_FRACTION = 0.1
"""A dimension that jumps in more than this fraction of the episodes is discrete, such as an open or closed gripper."""


def check_range(
    key: str, named: Sequence[str], episodes: Mapping[int, Float32[np.ndarray, "_ D"]], *, jumps: bool
) -> list[Issue]:
    """Warnings about constant dimensions of a vector and, with `jumps`, about jumps.

    key, named: names of the vector and of its dimensions. episodes: their finite numbers.
    """
    if not episodes:
        return []
    values = list(episodes.values())
    low, high = np.min([part.min(0) for part in values], axis=0), np.max([part.max(0) for part in values], axis=0)
    span = high - low
    if jumps and len(span) and (span < MIN_RANGE).all() and sum(map(len, values)) > 1:
        return [Issue("error", None, f"{key!r} never changes: nothing can be learned from it", "name another column")]
    issues = [
        Issue("warning", None, f"{key!r}: dimension {named[i]} is always {_about(float(low[i]), float(high[i]))}", HINT)
        for i in map(int, np.flatnonzero(span < MIN_RANGE))
    ]
    return issues + (_jumps(key, named, episodes, span) if jumps else [])


def _about(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"about {low:g} (within {high - low:.1g}, which counts as constant)"


def _jumps(
    key: str, names: Sequence[str], episodes: Mapping[int, np.ndarray], span: Float32[np.ndarray, " D"]
) -> list[Issue]:
    steps = {number: np.abs(np.diff(part, axis=0)) for number, part in episodes.items() if len(part) > 1}
    if not steps:
        return []
    typical = np.quantile(np.concatenate(list(steps.values())), 0.95, axis=0, method="lower")
    limit = np.where(typical > 0, np.maximum(JUMP_FACTOR * typical, JUMP_FRACTION * span), np.inf)
    jumps: dict[int, list[tuple[int, int]]] = {}  # dimension -> (episode, frame)
    for number, part in steps.items():
        for frame, dimension in np.argwhere(part > limit):
            jumps.setdefault(int(dimension), []).append((number, int(frame) + 1))
    issues = []
    for dimension, frames in sorted(jumps.items()):
        first = {number: frame for number, frame in reversed(frames)}
        if len(first) > max(1, COMMON_FRACTION * len(episodes)):
            continue
        for number, frame in sorted(first.items()):
            change = steps[number][frame - 1, dimension]
            message = f"{key!r}: dimension {names[dimension]} jumps by {change:g} at frame {frame}"
            message += f", 95 % of its changes are below {typical[dimension]:g}"
            issues.append(Issue("warning", number, message, "inspect the episode, remove it if it is damaged"))
    return issues
