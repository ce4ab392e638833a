"""Gantry embodiment: x, y, z, yaw, and two fingers that hold blocks by friction."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Float64

from wla.envs.tabletop.arm import QUARTER_TURN, SPEED, ExpertAction, follow, limit_speed
from wla.envs.tabletop.cameras import WRIST_CAMERA
from wla.envs.tabletop.objects import BLOCK_HALF
from wla.envs.tabletop.physics import RATE_HZ, Physics
from wla.specs import ActionSpec

TURN = 0.25
OPEN_WIDTH = 0.08
_HALF_OPEN = OPEN_WIDTH / 2
_LOW = np.array([-0.25, -0.19, 0.018, -1.65])
_HIGH = np.array([0.25, 0.19, 0.25, 1.65])


class Gantry:
    """`Arm` with Cartesian delta actions.

    The arm is the first element of the model, so that its joints are qpos[0:6] and its actuators ctrl[0:6].
    """

    embodiment: ClassVar[str] = "gantry"
    action_spec: ClassVar[ActionSpec] = ActionSpec(
        names=("dx", "dy", "dz", "dyaw", "gripper"),
        units=("m", "m", "m", "rad", "1"),
        kinds=("delta", "delta", "delta", "delta", "absolute"),
        low=(-SPEED, -SPEED, -SPEED, -TURN, -1.0),
        high=(SPEED, SPEED, SPEED, TURN, 1.0),
        frame="world",
        gripper="-1 open .. 1 closed",
        rate_hz=RATE_HZ,
    )
    state_names: ClassVar[tuple[str, ...]] = ("x", "y", "z", "yaw", "gripper_width")
    state_units: ClassVar[tuple[str, ...]] = ("m", "m", "m", "rad", "m")
    state_frame: ClassVar[Literal["world", "tool", "joint"]] = "world"
    tip: ClassVar[float] = 0.012
    half_width: ClassVar[float] = 0.012
    grasp_height: ClassVar[float] = 0.0
    bodies: ClassVar[tuple[str, ...]] = ("palm", "finger_left", "finger_right")

    def xml(self) -> str:
        """Returns a chain of slide joints and one hinge; the tool point is the origin of the palm body."""
        finger = (
            '<body name="finger_{name}" gravcomp="1">'
            '<joint name="finger_{name}" type="slide" axis="{side} 0 0" range="0 0.041"/>'
            '<geom type="box" size="0.006 0.011 0.029" pos="{centre} 0 0.017" mass="0.05" friction="2 0.01 0.0001" '
            'rgba="0.95 0.5 0.1 1"/></body>'
        )
        hidden = '<geom type="sphere" size="0.005" mass="0.2" contype="0" conaffinity="0" rgba="0 0 0 0"/>'
        return (
            f'<body name="rail_x" gravcomp="1"><joint name="x" type="slide" axis="1 0 0"/>{hidden}'
            f'<body name="rail_y" gravcomp="1"><joint name="y" type="slide" axis="0 1 0"/>{hidden}'
            f'<body name="rail_z" gravcomp="1"><joint name="z" type="slide" axis="0 0 1"/>{hidden}'
            '<geom type="cylinder" size="0.008 0.15" pos="0 0 0.21" mass="0.1" contype="0" conaffinity="0" '
            'rgba="0.25 0.25 0.28 1"/>'
            '<body name="palm" gravcomp="1"><joint name="yaw" type="hinge" axis="0 0 1" armature="0.001"/>'
            '<geom type="box" size="0.05 0.013 0.009" pos="0 0 0.054" mass="0.1" rgba="0.25 0.25 0.28 1"/>'
            + WRIST_CAMERA
            + finger.format(name="left", side=-1, centre=-0.006)
            + finger.format(name="right", side=1, centre=0.006)
            + "</body></body></body></body>"
        )

    def extras_xml(self, graspable: tuple[str, ...]) -> str:
        """Returns stiff, critically damped position servos; the fingers' servos centre a held block."""
        del graspable  # friction needs no preparation
        slides = "".join(
            f'<position joint="{axis}" kp="{mass * 150**2}" kv="{mass * 2 * 150}" forcerange="-80 80"/>'
            for axis, mass in (("x", 1.0), ("y", 0.8), ("z", 0.6))
        )
        yaw = '<position joint="yaw" kp="40" kv="0.5" forcerange="-5 5"/>'
        fingers = "".join(
            f'<position joint="finger_{side}" kp="250" kv="8" forcerange="-12 12"/>' for side in ("left", "right")
        )
        return f"<actuator>{slides}{yaw}{fingers}</actuator>"

    def randomize_pose(self, physics: Physics, rng: np.random.Generator, low: float, high: float) -> None:
        x, y, yaw = rng.uniform(-1.0, 1.0, 3) * (0.18, 0.13, 0.6)
        opening = _HALF_OPEN if rng.random() < 0.7 else rng.uniform(0.0, _HALF_OPEN)
        self._set(physics, np.array([x, y, rng.uniform(low, high), yaw, opening, opening]))

    def hold(self, physics: Physics, body: str) -> None:
        tool = physics.data.qpos[:6].copy()
        tool[4:6] = BLOCK_HALF
        self._set(physics, tool)
        physics.put(body, tool[:3], tool[3])

    def _set(self, physics: Physics, joints: np.ndarray) -> None:
        physics.data.qpos[:6] = joints
        physics.data.ctrl[:6] = joints

    def drive(self, physics: Physics, action: Float32[np.ndarray, " A"]) -> None:
        data = physics.data
        start = data.qpos[:4].copy()
        goal = np.clip(start + action[:4], _LOW, _HIGH)
        data.ctrl[4:6] = _HALF_OPEN * 0.5 * (1.0 - action[4])
        for _ in follow(physics, start, goal):
            pass

    def state(self, physics: Physics) -> Float32[np.ndarray, " S"]:
        joints = physics.data.qpos
        return np.array([*joints[:4], joints[4] + joints[5]], dtype=np.float32)

    def tool(self, physics: Physics) -> Float64[np.ndarray, " 3"]:
        return physics.data.qpos[:3].copy()

    def misalignment(self, physics: Physics, yaw: float, period: float = QUARTER_TURN) -> float:
        """Returns the rotation that the tool needs, radians; for blocks the yaw stays within an eighth of a turn.

        The target yaw jumps by one period at some orientation of the object. This should be far from usual
        orientations: for bars it is at the upper limit of the yaw, beyond a quarter turn.
        """
        top = period / 2 if period <= QUARTER_TURN else _HIGH[3]
        return float((yaw - top) % period - period + top - physics.data.qpos[3])

    def holds(self, physics: Physics, body: str) -> bool:
        """Returns whether the fingers' distance is the width of a block and the block is between them."""
        width = physics.data.qpos[4] + physics.data.qpos[5]
        if not 0.034 < width < 0.046:
            return False
        offset = physics.position(body) - self.tool(physics)
        return bool(np.hypot(offset[0], offset[1]) < 0.018 and abs(offset[2]) < 0.02)

    def ready(self, physics: Physics) -> bool:
        return bool(physics.data.qpos[4] + physics.data.qpos[5] > OPEN_WIDTH - 0.012)

    def action(self, physics: Physics, expert_action: ExpertAction) -> Float32[np.ndarray, " A"]:
        gripper = -1.0 if expert_action.grip == "let go" else 1.0
        return np.array(
            [*limit_speed(expert_action.move), np.clip(expert_action.turn, -TURN, TURN), gripper], dtype=np.float32
        )
