"""Simulation of one compiled MuJoCo model, with queries by name, independent of tasks, objects and embodiments."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Bool, Float64

from wla.envs.tabletop.appearance import Rgb

TIMESTEP = 0.005
RATE_HZ = 10.0


class Physics:
    """MuJoCo's `model` and `data`. Metres, radians, world frame; bodies and joints are addressed by name."""

    substeps = round(1.0 / (RATE_HZ * TIMESTEP))

    def __init__(self, xml: str) -> None:
        """Compiles MJCF."""
        self.model = mujoco.MjModel.from_xml_string(xml)
        self.data = mujoco.MjData(self.model)
        self._bodies: dict[str, int] = {}

    def body_id(self, name: str) -> int:
        """Returns MuJoCo's index of a body; an unknown name is a bug."""
        if name not in self._bodies:
            number = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, name)
            assert number >= 0, f"no body {name!r} in this scene"
            self._bodies[name] = number
        return self._bodies[name]

    def forward(self) -> None:
        """Updates all quantities that are derived from positions, without a simulation step."""
        mujoco.mj_forward(self.model, self.data)

    def snapshot(self) -> mujoco.MjData:
        """Returns a copy of everything that simulation changes."""
        return copy.copy(self.data)

    def restore(self, snapshot: mujoco.MjData) -> None:
        """Puts everything back that simulation has changed since."""
        mujoco.mj_copyData(self.data, self.model, snapshot)

    def put(self, body: str, position: Sequence[float] | np.ndarray, yaw: float = 0.0) -> None:
        """Sets the pose of a body.

        Args:
            body: name.
            position: (3,) metres, world frame.
            yaw: rotation about the vertical axis, radians.
        """
        number = self.body_id(body)
        quaternion = [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
        joint = self.model.body_jntadr[number]
        if joint >= 0 and self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            address = self.model.jnt_qposadr[joint]
            self.data.qpos[address : address + 7] = [*position, *quaternion]
        else:
            self.model.body_pos[number] = position
            self.model.body_quat[number] = quaternion

    def paint(self, body: str, colour: Rgb) -> None:
        """Sets the colour of all geometries of a body."""
        self.model.geom_rgba[self.model.geom_bodyid == self.body_id(body), :3] = colour

    def position(self, body: str) -> Float64[np.ndarray, " 3"]:
        """Returns the position of a body, (3,) metres, world frame."""
        return self.data.xpos[self.body_id(body)].copy()

    def yaw(self, body: str) -> float:
        """Returns the direction of one horizontal side of a block, radians, whichever side it lies on."""
        rotation = self.data.xmat[self.body_id(body)].reshape(3, 3)
        column = int(np.argmax(np.hypot(rotation[0], rotation[1])))
        return math.atan2(rotation[1, column], rotation[0, column])

    def heading(self, body: str) -> float:
        """Returns the direction of the body's own x axis in the horizontal plane, radians."""
        rotation = self.data.xmat[self.body_id(body)].reshape(3, 3)
        return math.atan2(rotation[1, 0], rotation[0, 0])

    def tilt(self, body: str) -> float:
        """Returns the angle between the body's own z axis and the vertical, radians."""
        return math.acos(min(1.0, max(-1.0, float(self.data.xmat[self.body_id(body)][8]))))

    def limit(self, joint: str, low: float, high: float) -> None:
        """Sets the range of a joint, metres or radians.

        Args:
            joint: name of a joint that has a range in the MJCF.
            low: lower limit.
            high: upper limit.
        """
        self.model.joint(joint).range[:] = low, high

    def joint_position(self, joint: str) -> float:
        """Returns the position of a joint: metres, or radians for a hinge."""
        number = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_JOINT, joint)
        return float(self.data.qpos[self.model.jnt_qposadr[number]])

    def is_penetrating(self, bodies: Sequence[str]) -> bool:
        """Returns whether one of `bodies` penetrates a body outside of them by more than 2 mm."""
        ours = self._owned(bodies)
        return bool(((ours.sum(axis=1) == 1) & (self.data.contact.dist < -0.002)).any())

    def touching(self, bodies: Sequence[str], others: Sequence[str]) -> bool:
        """Returns whether any of `bodies` is in contact with any of `others`."""
        return bool((self._owned(bodies) & self._owned(others)[:, ::-1]).any())

    def _owned(self, bodies: Sequence[str]) -> Bool[np.ndarray, "contacts 2"]:
        """Returns for both sides of each current contact whether it belongs to one of `bodies`."""
        numbers = [self.body_id(name) for name in bodies]
        return np.isin(self.model.geom_bodyid[self.data.contact.geom.reshape(-1, 2)], numbers)
