"""Checks of the numbers of state and action: whether they are there and finite, constant dimensions, jumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from wla.data.lerobot.columns import Columns
from wla.data.lerobot.format import INFO, DatasetInfo
from wla.data.lerobot.robots import FIX, row_width, several_widths
from wla.data.lerobot.vectors import joined_name, matrix, vector_names
from wla.data.normalize import MIN_RANGE
from wla.data.validation.issues import Issue

JUMP_FACTOR, JUMP_FRACTION = 20.0, 0.25
"""A jump is a change over one frame that exceeds 20 times the 95 % quantile of the changes, and a quarter of the
dimension's range. The second limit excludes measurement noise, the first one fast motions."""
HINT = "check whether it should change"
COMMON_FRACTION = 0.1
"""A dimension that jumps in more than this fraction of the episodes is discrete, such as an open or closed gripper."""


class NumberCheck:
    """Collects the numbers of state and action. vectors: the features of their columns."""

    def __init__(self, info: DatasetInfo, columns: Columns) -> None:
        self._info, self._columns = info, columns
        self.vectors = {key: info.features[key] for key in (*columns.state, *columns.action)}
        # State and action: the numbers of each episode.
        self._ranges: dict[tuple[str, ...], dict[int, np.ndarray]] = {
            names: {} for names in (columns.state, columns.action) if names
        }
        # Columns with other numbers than stated: their number in every row of an episode, None where it differs.
        self._widths: dict[str, dict[int, int | None]] = {key: {} for key in self.vectors}
        self._wrong: dict[str, list[int]] = {key: [] for key in self.vectors}
        self._issues: list[Issue] = []

    def episode(self, table: pa.Table, episode: int) -> None:
        """Adds the rows of an episode."""
        found = {key: self._numbers(key, table, episode) for key in self.vectors}
        for names, episodes in self._ranges.items():
            parts = [part for name in names if (part := found[name]) is not None]
            if len(parts) == len(names):
                episodes[episode] = np.concatenate(parts, axis=1)

    def finish(self) -> list[Issue]:
        """All issues, including those of the dataset as a whole."""
        issues = list(self._issues)
        for key, wrong in self._wrong.items():
            issues += self._absent(key, wrong)
        for names, episodes in self._ranges.items():
            named, is_action = vector_names(self._info, names), names == self._columns.action
            issues += check_range(joined_name(names), named, episodes, jumps=is_action)
        return issues

    def _numbers(self, key: str, table: pa.Table, episode: int) -> np.ndarray | None:
        """The numbers of a column; None, and an issue, when they are not what the dataset states."""
        if key not in table.column_names:
            return None
        numbers = matrix(table, key, self.vectors[key])
        self._widths[key][episode] = row_width(table[key])
        if numbers is None:
            self._wrong[key].append(episode)
            return None
        bad = np.flatnonzero(~np.isfinite(numbers).all(1))
        if bad.size:
            message = f"{key!r} is not finite in {bad.size} frames, the first is frame {bad[0]}"
            self._issues.append(Issue("error", episode, message, "remove the episode"))
            return None
        return numbers

    def _absent(self, key: str, episodes: list[int]) -> list[Issue]:
        """The issues of a column that does not have its numbers in these episodes: one where robots are mixed."""
        if episodes and (mixed := several_widths(key, self._widths[key])):
            return [Issue("error", None, mixed, FIX)]
        count = " x ".join(map(str, self.vectors[key].shape)) or "1"
        message = f"{key!r} does not have {count} numbers in every frame, as {INFO} states"
        return [Issue("error", episode, message, "restore the file or remove the episode") for episode in episodes]


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
