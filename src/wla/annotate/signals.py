"""Conditions on a robot's motion for each frame, computed from state and actions; the vocabulary of templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from wla.specs import RobotSpec

CONDITIONS: dict[str, str] = {
    "closed": "the gripper is commanded to close",
    "open": "the gripper is commanded to open",
    "settled": "the fingers do not move until the next frame",
    "slow": "the tool pauses",
    "along": "the tool moves sideways",
    "sinking": "the tool goes down",
    "rising": "the tool goes up",
    "down": "the tool goes down more than sideways",
    "up": "the tool goes up more than sideways",
    "low": "the tool is near the lowest point of the episode",
}
"""Name of a condition -> meaning. `not NAME` is its negation."""

MOVING_SPEED_FRACTION = 0.15
"""Fraction of the episode's 95th percentile of speed below which the tool pauses."""
LOW_HEIGHT_FRACTION = 0.2
"""Fraction of the episode's range of heights that counts as low."""
SETTLED_FRACTION = 0.1
"""Fraction of the fingers' range by which settled fingers may move in a frame."""
GLITCH_SECONDS = 0.15
"""Gripper commands shorter than this are noise, seconds."""

_END = r"(-?\d+(?:\.\d+)?)\s+([^.,]*?)\s*"
_CONVENTION = re.compile(rf"{_END}\.\.\s*{_END}(?:,.*)?$")
_CLOSED = re.compile(r"\bclosed?\b|\bon\b")
_OPEN = re.compile(r"\bopen\b|\boff\b")

Signals = Mapping[str, Bool[np.ndarray, " T"]]


class RobotSignals:
    """Conditions of one robot, whose spec determines the indices of tool and gripper in state and action."""

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        state_names, action = spec.observation.state_names, spec.action
        self.axes = [state_names.index(axis) for axis in "xyz" if axis in state_names]
        self.height = state_names.index("z") if "z" in state_names else None
        self.fingers = [i for i, name in enumerate(state_names) if _is_gripper(name)]
        self.gripper = [i for i, name in enumerate(action.names) if _is_gripper(name)]
        self.others = [i for i in range(spec.observation.state_dim) if i not in self.fingers]
        # Commanded motion, if it is in metres, is preferred to measured motion, which also contains perturbations.
        deltas = [
            action.names.index(f"d{axis}")
            for axis in "xyz"
            if f"d{axis}" in action.names and action.kinds[action.names.index(f"d{axis}")] == "delta"
        ]
        self.deltas = deltas if len(deltas) == len(self.axes) == 3 else None

    def missing_input(self, condition: str, *, actions: bool) -> str | None:
        """Returns the input that a condition needs and the robot lacks; None when it lacks nothing.

        Args:
            condition: one of CONDITIONS.
            actions: whether the dataset has actions.
        """
        if condition in ("closed", "open") and len(self.gripper if actions else self.fingers) != 1:
            return f"exactly one gripper in its {'actions' if actions else 'state'}"
        if condition == "settled" and not self.fingers:
            return "the width of its gripper in its state"
        if condition in ("along", "down", "up") and len(self.axes) != 3:
            return "x, y and z in its state"
        if condition in ("sinking", "rising", "low") and self.height is None:
            return "z in its state"
        return None

    def signals(self, state: Float[np.ndarray, "T S"], actions: Float[np.ndarray, "T A"] | None) -> Signals:
        """Returns all conditions that the robot has the inputs for.

        Args:
            state: states of one episode, in the robot's units.
            actions: actions of the episode, in the robot's units; None for a dataset without actions.

        Returns:
            Name of the condition -> whether it holds in each frame, (T,).
        """
        signals: dict[str, np.ndarray] = {}
        if self.missing_input("closed", actions=actions is not None) is None:
            signals["closed"] = self._closed(state, actions)
            signals["open"] = ~signals["closed"]
        if self.fingers:
            width = state[:, self.fingers].sum(1)
            tolerance = SETTLED_FRACTION * max(float(np.ptp(width)), 1e-6)
            signals["settled"] = np.abs(_steps(width[:, None])[:, 0]) <= tolerance
        if self.height is not None:
            heights = state[:, self.height]
            signals["low"] = heights <= heights.min() + LOW_HEIGHT_FRACTION * np.ptp(heights)
        if len(self.axes) == 3:
            move = actions[:, self.deltas] if actions is not None and self.deltas else _steps(state[:, self.axes])
            signals |= _directions(move)
        else:
            speed = np.linalg.norm(_steps(state[:, self.others]), axis=1)
            signals["slow"] = speed <= MOVING_SPEED_FRACTION * np.percentile(speed, 95)
            if self.height is not None:
                rise = _steps(state[:, [self.height]])[:, 0]
                threshold = MOVING_SPEED_FRACTION * np.percentile(np.abs(rise), 95)
                signals |= {"rising": rise > threshold, "sinking": rise < -threshold}
        return signals

    def _closed(self, state: np.ndarray, actions: np.ndarray | None) -> np.ndarray:
        if actions is None:
            width = state[:, self.fingers[0]]
            closed = width < width.min() + np.ptp(width) / 2
        else:
            low, high, high_closes = gripper_convention(self.spec)
            closed = actions[:, self.gripper[0]] > (low + high) / 2
            closed = closed if high_closes else ~closed
        return _without_glitches(closed, int(GLITCH_SECONDS * self.spec.action.rate_hz))


def gripper_convention(spec: RobotSpec) -> tuple[float, float, bool]:
    """Returns the lower and upper value of a gripper's action, and whether the upper one is closed.

    Raises:
        ValueError: the spec's description of the gripper does not determine it.
    """
    description = spec.action.gripper
    match = _CONVENTION.match(description)
    if match:
        low, first, high, second = match.groups()
        if _OPEN.search(first) and _CLOSED.search(second):
            return float(low), float(high), True
        if _CLOSED.search(first) and _OPEN.search(second):
            return float(low), float(high), False
    raise ValueError(
        f"robot {spec.embodiment!r}: its gripper is described as {description!r}, which does not define which end is "
        "closed; write it like '-1 open .. 1 closed'"
    )


def _directions(move: Float[np.ndarray, "T 3"]) -> dict[str, np.ndarray]:
    threshold = MOVING_SPEED_FRACTION * float(np.percentile(np.linalg.norm(move, axis=1), 95))
    sideways, rise = np.hypot(move[:, 0], move[:, 1]), move[:, 2]
    return {
        "slow": np.linalg.norm(move, axis=1) <= threshold,
        "along": sideways > threshold,
        "sinking": rise < -threshold,
        "rising": rise > threshold,
        "down": -rise > np.maximum(sideways, threshold),
        "up": rise > np.maximum(sideways, threshold),
    }


def _is_gripper(name: str) -> bool:
    return any(part in name for part in ("gripper", "finger", "suction", "holding"))


def _steps(values: Float[np.ndarray, "T D"]) -> Float[np.ndarray, "T D"]:
    """Returns differences between consecutive frames, (T, D), 0 for the last one."""
    return np.diff(values, axis=0, append=values[-1:])


def _without_glitches(on: Bool[np.ndarray, " T"], shortest: int) -> Bool[np.ndarray, " T"]:
    """Replaces runs of fewer than `shortest` frames by the value before them."""
    clean = on.copy()
    boundaries = [0, *(np.flatnonzero(np.diff(on)) + 1), len(on)]
    for start, end in pairwise(boundaries[1:]):
        if end - start < shortest and end < len(on):
            clean[start:end] = clean[start - 1]
    return clean
