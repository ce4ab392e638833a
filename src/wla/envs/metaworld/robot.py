"""The arm of Meta-World, a Sawyer whose hand is moved in space, and its cameras, all turned upright."""

from __future__ import annotations

from wla.specs import ActionSpec, ObservationSpec, RobotSpec

CAMERAS = {"sawyer": ("corner2",), "sawyer_wrist": ("corner2", "gripperPOV")}
"""Embodiment -> its cameras, the primary one first. Evaluators show policies corner2 alone."""
CORNER2_POSITION = (0.75, 0.075, 0.7)
"""Position of corner2 in metres, nearer than the benchmark's: that of Masked World Models, which LeRobot has, too."""
UPSIDE_DOWN = frozenset({"corner", "corner2", "corner3", "corner4"})
"""Cameras of the benchmark that stand on their head."""
STATE_DIM = 4
"""The first numbers of the benchmark's observation; the others are positions of objects and the goal."""


def sawyer(embodiment: str, image_size: int) -> RobotSpec:
    """The robot: deltas of the hand in cm (the benchmark's -1 .. 1), effort of the gripper, 80 Hz."""
    return RobotSpec(
        embodiment=f"metaworld-{embodiment}",
        action=ActionSpec(
            names=("dx", "dy", "dz", "gripper"),
            units=("cm", "cm", "cm", "1"),
            kinds=("delta", "delta", "delta", "absolute"),
            low=(-1.0,) * 4,
            high=(1.0,) * 4,
            frame="world",
            gripper="-1 open .. 1 closed",
            rate_hz=80.0,
        ),
        observation=ObservationSpec(
            cameras=dict.fromkeys(CAMERAS[embodiment], (image_size, image_size)),
            state_names=("x", "y", "z", "opening"),
            state_units=("m", "m", "m", "1"),
            state_frame="world",
        ),
    )
