"""The cameras: a front camera that faces the table (primary), and a wrist camera on the tool of each arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CAMERAS = ("front", "wrist")
"""Names, the primary camera first."""
FRONT_POSITION = np.array([0.0, -0.40, 0.50])
"""Metres, world frame; randomized scenes shift it."""
FRONT_TARGET = np.array([0.0, 0.012, 0.03])


def _facing(eye: np.ndarray, target: np.ndarray) -> str:
    """Returns the MJCF xyaxes of an upright camera at `eye` that points at `target`."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return _numbers([*right, *np.cross(right, forward)])


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)


FRONT_CAMERA = f'<camera name="front" xyaxes="{_facing(FRONT_POSITION, FRONT_TARGET)}" fovy="44.0"/>'
"""MJCF element of the world body."""
WRIST_CAMERA = '<camera name="wrist" mode="fixed" pos="0 -0.07 0.085" xyaxes="1 0 0 0 0.966 0.259" fovy="80"/>'
"""MJCF element of the body that carries an arm's tool."""
