"""The robot of all tests that need no simulator: one motion, a gripper, two cameras."""

from __future__ import annotations

from wla.specs import ActionSpec, ObservationSpec, RobotSpec


def robot(
    embodiment: str = "toy",
    *,
    state_dim: int = 3,
    action_dim: int = 2,
    limits: tuple[float, float] = (-1.0, 1.0),
    size: tuple[int, int] = (32, 48),
) -> RobotSpec:
    """limits: of the motion, metres per step; size: (height, width) of both cameras; action_dim 1: no gripper."""
    return RobotSpec(
        embodiment=embodiment,
        action=ActionSpec(
            names=("dx", "gripper")[:action_dim],
            units=("m/step", "1")[:action_dim],
            kinds=("delta", "absolute")[:action_dim],
            low=(limits[0], -1.0)[:action_dim],
            high=(limits[1], 1.0)[:action_dim],
            frame="world",
            gripper="-1 open .. 1 closed" if action_dim == 2 else "none",
            rate_hz=10.0,
        ),
        observation=ObservationSpec(
            cameras={"front": size, "wrist": size},
            state_names=("x", "y", "width")[:state_dim],
            state_units=("m", "m", "m")[:state_dim],
            state_frame="world",
        ),
    )
