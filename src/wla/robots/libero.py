"""Robot of the LIBERO benchmark: a Franka Panda under operational-space control."""

from __future__ import annotations

from wla.specs import ActionSpec, ObservationSpec, RobotSpec


def libero_robot() -> RobotSpec:
    """Franka Panda in LIBERO: OSC pose deltas; positions in m, rotations as axis-angle in rad."""
    axes = ("x", "y", "z", "rx", "ry", "rz")
    return RobotSpec(
        embodiment="libero_panda",
        action=ActionSpec(
            names=(*axes, "gripper"),
            units=("normalised",) * 7,
            kinds=("delta",) * 6 + ("absolute",),
            low=(-1.0,) * 6 + (0.0,),
            high=(1.0,) * 7,
            frame="world",
            gripper="0 closed .. 1 open",
            rate_hz=20.0,
        ),
        observation=ObservationSpec(
            cameras={"image": (256, 256), "wrist_image": (256, 256)},
            state_names=(*axes, "finger_left", "finger_right"),
            state_units=("m",) * 3 + ("rad",) * 3 + ("m",) * 2,
            state_frame="world",
        ),
    )


LIBERO_PANDA = libero_robot()
