"""What a robot does, frame by frame, as far as its state and actions tell: the words that templates are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from wla.specs import RobotSpec

CONDITIONS: dict[str, str] = {
    "closed": "the gripper is to be closed",
    "open": "the gripper is to be open",
    "settled": "the fingers stay where they are until the next frame",
    "slow": "the tool pauses",
    "along": "the tool moves sideways",
    "sinking": "the tool goes down",
    "rising": "the tool goes up",
    "down": "the tool goes down more than sideways",
    "up": "the tool goes up more than sideways",
    "low": "the tool is near the lowest point of the episode",
}
"""What a template may ask of a frame; `not WORD` is the contrary."""

MOVING_SPEED_FRACTION = 0.15
"""Share of the episode's top speed (95th percentile) below which the tool pauses."""
LOW_HEIGHT_FRACTION = 0.2
"""Share of the episode's range of heights that counts as low."""
SETTLED_FRACTION = 0.1
"""Share of the fingers' range by which they may move in a frame and still be settled."""
GLITCH_SECONDS = 0.15
"""Seconds: a command to the gripper that is shorter is noise."""

_END = r"(-?\d+(?:\.\d+)?)\s+([^.,]*?)\s*"
_CONVENTION = re.compile(rf"{_END}\.\.\s*{_END}(?:,.*)?$")
_CLOSED = re.compile(r"\bclosed?\b|\bon\b")
_OPEN = re.compile(r"\bopen\b|\boff\b")

Signals = Mapping[str, Bool[np.ndarray, " T"]]


class RobotSignals:
    """Where a robot's numbers are in its state and action, from its spec."""

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        seen, act = spec.observation, spec.action
        self.axes = [seen.state_names.index(axis) for axis in "xyz" if axis in seen.state_names]
        self.height = seen.state_names.index("z") if "z" in seen.state_names else None
        self.fingers = [i for i, name in enumerate(seen.state_names) if _of_gripper(name)]
        self.gripper = [i for i, name in enumerate(act.names) if _of_gripper(name)]
        self.others = [i for i in range(seen.state_dim) if i not in self.fingers]
        # Commanded motion tells more than measured one (a push from outside is no intention), where it is in metres.
        deltas = [
            act.names.index(f"d{axis}")
            for axis in "xyz"
            if f"d{axis}" in act.names and act.kinds[act.names.index(f"d{axis}")] == "delta"
        ]
        self.deltas = deltas if len(deltas) == len(self.axes) == 3 else None

    def missing_input(self, condition: str, *, actions: bool) -> str | None:
        """What the robot lacks for a condition to be known; None when nothing."""
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
        """Each condition that the robot allows, for the frames of one episode. state and actions are in its units."""
        found: dict[str, np.ndarray] = {}
        have = actions is not None
        if self.missing_input("closed", actions=have) is None:
            found["closed"] = self._closed(state, actions)
            found["open"] = ~found["closed"]
        if self.fingers:
            width = state[:, self.fingers].sum(1)
            found["settled"] = np.abs(_steps(width[:, None])[:, 0]) <= SETTLED_FRACTION * max(
                float(np.ptp(width)), 1e-6
            )
        if self.height is not None:
            heights = state[:, self.height]
            found["low"] = heights <= heights.min() + LOW_HEIGHT_FRACTION * np.ptp(heights)
        if len(self.axes) == 3:
            move = actions[:, self.deltas] if actions is not None and self.deltas else _steps(state[:, self.axes])
            found |= _directions(move)
        else:
            speed = np.linalg.norm(_steps(state[:, self.others]), axis=1)
            found["slow"] = speed <= MOVING_SPEED_FRACTION * np.percentile(speed, 95)
            if self.height is not None:
                rise = _steps(state[:, [self.height]])[:, 0]
                least = MOVING_SPEED_FRACTION * np.percentile(np.abs(rise), 95)
                found |= {"rising": rise > least, "sinking": rise < -least}
        return found

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
    """The gripper's two ends, and whether the second one is closed. ValueError when the spec's words do not say."""
    words = spec.action.gripper
    match = _CONVENTION.match(words)
    if match:
        low, first, high, second = match.groups()
        if _OPEN.search(first) and _CLOSED.search(second):
            return float(low), float(high), True
        if _CLOSED.search(first) and _OPEN.search(second):
            return float(low), float(high), False
    raise ValueError(
        f"robot {spec.embodiment!r}: its gripper is described as {words!r}, which does not say which end is closed; "
        "write it like '-1 open .. 1 closed'"
    )


def _directions(move: Float[np.ndarray, "T 3"]) -> dict[str, np.ndarray]:
    least = MOVING_SPEED_FRACTION * float(np.percentile(np.linalg.norm(move, axis=1), 95))
    along, rise = np.hypot(move[:, 0], move[:, 1]), move[:, 2]
    return {
        "slow": np.linalg.norm(move, axis=1) <= least,
        "along": along > least,
        "sinking": rise < -least,
        "rising": rise > least,
        "down": -rise > np.maximum(along, least),
        "up": rise > np.maximum(along, least),
    }


def _of_gripper(name: str) -> bool:
    return any(word in name for word in ("gripper", "finger", "suction", "holding"))


def _steps(values: Float[np.ndarray, "T D"]) -> Float[np.ndarray, "T D"]:
    """How much changes from each frame to the next; nothing at the last one."""
    return np.diff(values, axis=0, append=values[-1:])


def _without_glitches(on: Bool[np.ndarray, " T"], shortest: int) -> Bool[np.ndarray, " T"]:
    """Runs of fewer than `shortest` frames become like what was before them."""
    clean = on.copy()
    borders = [0, *(np.flatnonzero(np.diff(on)) + 1), len(on)]
    for start, end in pairwise(borders[1:]):
        if end - start < shortest and end < len(on):
            clean[start:end] = clean[start - 1]
    return clean
