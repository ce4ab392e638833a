"""SCARA embodiment with joint-space actions: two revolute joints, a vertical quill and a suction cup."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import mujoco
import numpy as np
from jaxtyping import Float32, Float64

from wla.envs.tabletop.arm import QUARTER_TURN, SPEED, ExpertAction, follow, limit_speed
from wla.envs.tabletop.cameras import WRIST_CAMERA
from wla.envs.tabletop.objects import BLOCK_HALF
from wla.envs.tabletop.physics import RATE_HZ, Physics
from wla.specs import ActionSpec

TURN = 0.1
_BASE = np.array([0.0, 0.30])
_LINK = 0.32
_DECK = 0.27  # height of the links: the front camera sees the table below them
_LOW = np.array([-2.2, 0.3, 0.004])
_HIGH = np.array([1.2, 2.75, 0.25])
_CUP = 0.012
_PRESS = 0.002  # depth by which the cup is pressed onto a block to grasp it


class Scara:
    """`Arm` with joint delta actions.

    The arm is the first element of the model, so that its joints are qpos[0:3] and its actuators ctrl[0:3].
    """

    embodiment: ClassVar[str] = "scara"
    action_spec: ClassVar[ActionSpec] = ActionSpec(
        names=("dshoulder", "delbow", "dz", "suction"),
        units=("rad", "rad", "m", "1"),
        kinds=("delta", "delta", "delta", "absolute"),
        low=(-TURN, -TURN, -SPEED, -1.0),
        high=(TURN, TURN, SPEED, 1.0),
        frame="joint",
        gripper="-1 suction off .. 1 on, on when above 0",
        rate_hz=RATE_HZ,
    )
    state_names: ClassVar[tuple[str, ...]] = ("shoulder", "elbow", "z", "holding")
    state_units: ClassVar[tuple[str, ...]] = ("rad", "rad", "m", "1")
    state_frame: ClassVar[Literal["world", "tool", "joint"]] = "joint"
    tip: ClassVar[float] = 0.0
    half_width: ClassVar[float] = _CUP
    grasp_height: ClassVar[float] = BLOCK_HALF - _PRESS
    bodies: ClassVar[tuple[str, ...]] = ("cup",)

    def xml(self) -> str:
        """Returns an arm with its base behind the table. The origin of the cup is the centre of its rim.

        At zero both links point to the front camera.
        """
        blue, pale = "0.20 0.35 0.55 1", "0.85 0.88 0.90 1"
        ghost = 'contype="0" conaffinity="0"'
        link = (
            f'<geom type="capsule" fromto="0 0 0 0 {-_LINK} 0" size="0.018" mass="0.3" {ghost} rgba="{blue}"/>'
            f'<geom type="cylinder" size="0.026 0.022" mass="0.1" {ghost} rgba="{pale}"/>'
        )
        return (
            f'<body name="column" pos="{_BASE[0]} {_BASE[1]} 0">'
            f'<geom type="cylinder" size="0.035 {_DECK / 2}" pos="0 0 {_DECK / 2}" {ghost} rgba="{pale}"/>'
            f'<body name="upper_arm" pos="0 0 {_DECK}" gravcomp="1"><joint name="shoulder" axis="0 0 1"/>{link}'
            f'<body name="forearm" pos="0 {-_LINK} 0" gravcomp="1"><joint name="elbow" axis="0 0 1"/>{link}'
            f'<body name="cup" pos="0 {-_LINK} {-_DECK}" gravcomp="1"><joint name="z" type="slide" axis="0 0 1"/>'
            f'<geom type="cylinder" size="{_CUP} 0.012" pos="0 0 0.012" mass="0.1" friction="1 0.005 0.0001" '
            'rgba="0.15 0.15 0.15 1"/>'
            '<geom type="cylinder" size="0.007 0.16" pos="0 0 0.18" mass="0.1" friction="1 0.005 0.0001" '
            f'rgba="{pale}"/>' + WRIST_CAMERA + "</body></body></body></body>"
        )

    def extras_xml(self, graspable: tuple[str, ...]) -> str:
        """Returns position servos, and for each graspable body a weld constraint that suction activates."""
        welds = "".join(
            f'<weld name="suction_{body}" body1="cup" body2="{body}" active="false" solref="0.01 1"/>'
            for body in graspable
        )
        return (
            '<actuator><position joint="shoulder" kp="2000" kv="28" forcerange="-60 60"/>'
            '<position joint="elbow" kp="800" kv="11" forcerange="-30 30"/>'
            '<position joint="z" kp="6000" kv="80" forcerange="-40 40"/></actuator>'
            f"<equality>{welds}</equality>"
        )

    def randomize_pose(self, physics: Physics, rng: np.random.Generator, low: float, high: float) -> None:
        x, y = rng.uniform(-1.0, 1.0, 2) * (0.18, 0.13)
        joints = _joints(np.array([x, y, rng.uniform(low, high)]))
        physics.data.qpos[:3] = joints
        physics.data.ctrl[:3] = joints

    def hold(self, physics: Physics, body: str) -> None:
        if physics.data.qpos[2] < 2 * BLOCK_HALF:
            physics.data.qpos[2] = physics.data.ctrl[2] = 2 * BLOCK_HALF
        tool = self.tool(physics)
        physics.put(body, tool - (0.0, 0.0, self.grasp_height), float(physics.data.qpos[:2].sum()))
        self._attach(physics, body)

    def drive(self, physics: Physics, action: Float32[np.ndarray, " A"]) -> None:
        start = physics.data.qpos[:3].copy()
        goal = np.clip(start + action[:3], _LOW, _HIGH)
        suction = action[3] > 0.0
        if not suction:
            physics.data.eq_active[:] = 0
        for _ in follow(physics, start, goal):
            if suction and not physics.data.eq_active.any():
                self._attach_touched(physics)

    def _attach_touched(self, physics: Physics) -> None:
        """Attaches the block that the cup touches from above, if any."""
        tool = self.tool(physics)
        for number in physics.model.eq_obj2id:
            body = physics.model.body(number).name
            offset = physics.position(body) - tool
            if np.hypot(offset[0], offset[1]) < 0.016 and offset[2] < -0.01 and physics.touching(self.bodies, (body,)):
                self._attach(physics, body)
                return

    def _attach(self, physics: Physics, body: str) -> None:
        """Welds the block to the cup in their current relative pose."""
        mujoco.mj_kinematics(physics.model, physics.data)
        cup, block = physics.body_id("cup"), physics.body_id(body)
        inverse, rotation = np.empty(4), np.empty(4)
        mujoco.mju_negQuat(inverse, physics.data.xquat[cup])
        mujoco.mju_mulQuat(rotation, inverse, physics.data.xquat[block])
        offset = physics.data.xmat[cup].reshape(3, 3).T @ (physics.data.xpos[block] - physics.data.xpos[cup])
        number = mujoco.mj_name2id(physics.model, mujoco.mjtObj.mjOBJ_EQUALITY, f"suction_{body}")
        # MuJoCo's layout for a weld: anchor on the second body (3), position (3) and rotation (4) in the first, scale.
        physics.model.eq_data[number, :10] = [0.0, 0.0, 0.0, *offset, *rotation]
        physics.data.eq_active[number] = 1

    def state(self, physics: Physics) -> Float32[np.ndarray, " S"]:
        return np.array([*physics.data.qpos[:3], float(physics.data.eq_active.any())], dtype=np.float32)

    def tool(self, physics: Physics) -> Float64[np.ndarray, " 3"]:
        shoulder, elbow, z = physics.data.qpos[:3]
        forward = math.cos(shoulder) + math.cos(shoulder + elbow)
        sideways = math.sin(shoulder) + math.sin(shoulder + elbow)
        return np.array([_BASE[0] + _LINK * sideways, _BASE[1] - _LINK * forward, z])

    def misalignment(self, physics: Physics, yaw: float, period: float = QUARTER_TURN) -> float:
        """Returns 0: a round cup needs no rotation."""
        del physics, yaw, period
        return 0.0

    def holds(self, physics: Physics, body: str) -> bool:
        number = mujoco.mj_name2id(physics.model, mujoco.mjtObj.mjOBJ_EQUALITY, f"suction_{body}")
        return bool(physics.data.eq_active[number])

    def ready(self, physics: Physics) -> bool:
        return not physics.data.eq_active.any()

    def action(self, physics: Physics, expert_action: ExpertAction) -> Float32[np.ndarray, " A"]:
        """Returns joint displacements; both revolute joints are scaled together when one exceeds its limit."""
        move = _joints(self.tool(physics) + limit_speed(expert_action.move)) - physics.data.qpos[:3]
        move[:2] *= min(1.0, TURN / max(float(np.abs(move[:2]).max()), 1e-9))
        return np.array([*move, 1.0 if expert_action.grip == "take" else -1.0], dtype=np.float32)


def _joints(tool: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """Inverse kinematics: shoulder, elbow and quill for the tool point (3,), or for the nearest one in reach.

    The elbow bends in one direction only.
    """
    sideways, forward = tool[0] - _BASE[0], _BASE[1] - tool[1]
    half = math.acos(min(1.0, math.hypot(sideways, forward) / (2 * _LINK)))  # both links have the same length
    return np.clip([math.atan2(sideways, forward) - half, 2 * half, tool[2]], _LOW, _HIGH)
