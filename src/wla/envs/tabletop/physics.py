"""One compiled MuJoCo model in motion, and plain questions about it. Knows nothing of tasks, parts and embodiments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Bool, Float64

from wla.envs.tabletop.appearance import Rgb

TIMESTEP = 0.005
RATE_HZ = 10.0


class Physics:
    """`model` and `data` of MuJoCo. Metres, radians, world frame; bodies and joints go by their names."""

    substeps = round(1.0 / (RATE_HZ * TIMESTEP))

    def __init__(self, xml: str) -> None:
        """Compile MJCF."""
        self.model = mujoco.MjModel.from_xml_string(xml)
        self.data = mujoco.MjData(self.model)
        self._bodies: dict[str, int] = {}

    def body_id(self, name: str) -> int:
        """MuJoCo's number of the body; an unknown name is a bug."""
        if name not in self._bodies:
            number = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, name)
            assert number >= 0, f"no body {name!r} in this scene"
            self._bodies[name] = number
        return self._bodies[name]

    def forward(self) -> None:
        """Bring everything that follows from positions up to date, without moving anything."""
        mujoco.mj_forward(self.model, self.data)

    def put(self, body: str, position: Sequence[float] | np.ndarray, yaw: float = 0.0) -> None:
        """Put a thing somewhere, at rest. position: (3,) metres; yaw: radians."""
        number = self.body_id(body)
        turned = [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
        joint = self.model.body_jntadr[number]
        if joint >= 0 and self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            address = self.model.jnt_qposadr[joint]
            self.data.qpos[address : address + 7] = [*position, *turned]
        else:
            self.model.body_pos[number] = position
            self.model.body_quat[number] = turned

    def paint(self, body: str, colour: Rgb) -> None:
        """Give all of a thing one colour."""
        self.model.geom_rgba[self.model.geom_bodyid == self.body_id(body), :3] = colour

    def position(self, body: str) -> Float64[np.ndarray, " 3"]:
        """Where the body is, metres, world frame."""
        return self.data.xpos[self.body_id(body)].copy()

    def yaw(self, body: str) -> float:
        """Direction (radians) of whichever horizontal side of a block is nearest to the x axis; tumbling is allowed."""
        rotation = self.data.xmat[self.body_id(body)].reshape(3, 3)
        column = int(np.argmax(np.hypot(rotation[0], rotation[1])))
        return math.atan2(rotation[1, column], rotation[0, column])

    def heading(self, body: str) -> float:
        """Direction (radians) of the body's own x axis, seen from above."""
        rotation = self.data.xmat[self.body_id(body)].reshape(3, 3)
        return math.atan2(rotation[1, 0], rotation[0, 0])

    def tilt(self, body: str) -> float:
        """Angle (radians) between the body's own z axis and straight up."""
        return math.acos(min(1.0, max(-1.0, float(self.data.xmat[self.body_id(body)][8]))))

    def limit(self, joint: str, low: float, high: float) -> None:
        """Let a joint (one with a range in the description) move between `low` and `high` only, metres or radians."""
        self.model.joint(joint).range[:] = low, high

    def joint_position(self, joint: str) -> float:
        """How far a joint has moved from where it started: metres, or radians for a hinge."""
        number = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_JOINT, joint)
        return float(self.data.qpos[self.model.jnt_qposadr[number]])

    def is_penetrating(self, bodies: Sequence[str]) -> bool:
        """Whether one of `bodies` has got into something that is not one of them."""
        ours = self._owned(bodies)
        return bool(((ours.sum(axis=1) == 1) & (self.data.contact.dist < -0.002)).any())

    def touching(self, bodies: Sequence[str], others: Sequence[str]) -> bool:
        """Whether any of `bodies` is in contact with any of `others`."""
        return bool((self._owned(bodies) & self._owned(others)[:, ::-1]).any())

    def _owned(self, bodies: Sequence[str]) -> Bool[np.ndarray, "contacts 2"]:
        """Which sides of the present contacts belong to one of `bodies`."""
        numbers = [self.body_id(name) for name in bodies]
        return np.isin(self.model.geom_bodyid[self.data.contact.geom.reshape(-1, 2)], numbers)
