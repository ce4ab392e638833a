"""The robot: what each number of its actions and states means.

A dataset, a policy and an environment of one robot agree in every field. Units are metres, radians and seconds.
"""

from wla.specs import ActionSpec, ObservationSpec, RobotSpec

ROBOT = RobotSpec(
    embodiment="my_robot",  # its name, which is also that of its entry point in pyproject.toml
    action=ActionSpec(
        names=("dx", "dy"),
        units=("m", "m"),
        kinds=("delta", "delta"),  # delta: added to the measured value; absolute: replaces it
        low=(-0.05, -0.05),  # what is beyond is clipped before it is executed
        high=(0.05, 0.05),
        frame="world",  # or "tool", or "joint" for joint positions
        gripper="none",  # its sign in words, e.g. "0 closed .. 1 open"
        rate_hz=10.0,  # control steps per second
    ),
    observation=ObservationSpec(
        cameras={"front": (64, 64)},  # (height, width); the first is the primary one, whose future is imagined
        state_names=("x", "y"),
        state_units=("m", "m"),
        state_frame="world",
    ),
)
