"""Recordings without a simulator: a gripper that is told where to go, and goes there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wla.data.lerobot.writer import DatasetWriter
from wla.specs import ActionSpec, ObservationSpec, RobotSpec

OPEN, HELD = 0.08, 0.04
Step = tuple[float, float, float, float]
"""dx, dy, dz in metres, and the gripper's command: -1 open, 1 closed."""

DOWN, UP, SIDE, WAIT = (0.0, 0.0, -0.03), (0.0, 0.0, 0.03), (0.03, 0.0, 0.0), (0.0, 0.0, 0.0)
PICK: list[Step] = [*[(*SIDE, -1)] * 3, *[(*DOWN, -1)] * 2, (*WAIT, 1)]
CARRY: list[Step] = [*[(*UP, 1)] * 2, *[(*SIDE, 1)] * 4, (*DOWN, 1)]
RELEASE: list[Step] = [(*WAIT, -1), *[(*UP, -1)] * 2]


def gantry(*, gripper: str = "-1 open .. 1 closed", state_names: tuple[str, ...] = ("x", "y", "z", "width_of_gripper")):
    return RobotSpec(
        embodiment="gantry",
        action=ActionSpec(
            names=("dx", "dy", "dz", "gripper"),
            units=("m", "m", "m", "1"),
            kinds=("delta", "delta", "delta", "absolute"),
            low=(-0.03, -0.03, -0.03, -1.0),
            high=(0.03, 0.03, 0.03, 1.0),
            frame="world",
            gripper=gripper,
            rate_hz=10.0,
        ),
        observation=ObservationSpec(
            cameras={"front": (32, 32)},
            state_names=state_names,
            state_units=("m",) * len(state_names),
            state_frame="world",
        ),
    )


def record(steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
    """States (T, 4) and actions (T, 4). The fingers arrive one step after they were told."""
    place, width = np.array([0.0, 0.0, 0.1]), OPEN
    states = []
    for *move, grip in steps:
        states.append([*place, width])
        place, width = place + move, OPEN if grip < 0 else HELD
    return np.array(states, np.float32), np.array(steps, np.float32)


def write(root: Path, recordings: Sequence[tuple[str, Sequence[Step]]], spec: RobotSpec | None = None) -> Path:
    """A dataset of (instruction, steps) without any subtask."""
    spec = spec or gantry()
    with DatasetWriter(root, spec) as writer:
        for number, (instruction, steps) in enumerate(recordings):
            for state, action in zip(*record(steps), strict=True):
                image = np.full((32, 32, 3), 40 + 20 * number, np.uint8)
                writer.add_frame({"front": image}, state[: spec.observation.state_dim], action)
            writer.end_episode(instruction, keep=True)
    return root
