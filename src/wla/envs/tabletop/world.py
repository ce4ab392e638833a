"""One compiled scene: table, parts and arm, and the questions that tasks ask about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.arm import RATE_HZ, Arm
from wla.envs.tabletop.look import Look, Rgb
from wla.envs.tabletop.parts import BLOCK_HALF, Block, Part

TIMESTEP = 0.005
FRONT_CAMERA = np.array([0.0, -0.40, 0.50])
FRONT_TARGET = np.array([0.0, 0.012, 0.03])
FRONT_FOV = 44.0


class World:
    """The physics of one episode: `model`, `data`, the `arm` in it and its `parts`."""

    substeps = round(1.0 / (RATE_HZ * TIMESTEP))

    def __init__(self, arm: Arm, parts: Sequence[Part], image_size: int) -> None:
        """Compile a scene with these kinds of parts; `arrange` then fills it."""
        self.arm = arm
        self.parts = tuple(parts)
        self.model = mujoco.MjModel.from_xml_string(_xml(arm, parts, image_size))
        self.data = mujoco.MjData(self.model)
        self._bodies: dict[str, int] = {}
        tool_bodies = [self.body_id(name) for name in arm.bodies]
        self._is_tool = np.isin(self.model.geom_bodyid, tool_bodies)

    def arrange(self, parts: Sequence[Part], look: Look) -> None:
        """Start over with other parts of the same kinds, wherever they now are, and another look."""
        self.parts = tuple(parts)
        mujoco.mj_resetData(self.model, self.data)
        self.model.geom("table").rgba[:3] = look.table
        self.model.light("lamp").dir[:] = look.light_direction
        self.model.light("lamp").diffuse[:] = look.light
        self.model.camera("front").pos[:] = FRONT_CAMERA + look.camera_shift
        for part in parts:
            part.arrange(self, look)

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

    @property
    def tool(self) -> Float64[np.ndarray, 3]:
        """The tool point, metres, world frame."""
        return self.arm.tool(self)

    def position(self, body: str) -> Float64[np.ndarray, 3]:
        """Where the body is, metres, world frame."""
        return self.data.xpos[self.body_id(body)].copy()

    def yaw(self, body: str) -> float:
        """Direction (radians) of whichever horizontal side of a block is nearest to the x axis; tumbling is allowed."""
        rotation = self.data.xmat[self.body_id(body)].reshape(3, 3)
        column = int(np.argmax(np.hypot(rotation[0], rotation[1])))
        return math.atan2(rotation[1, column], rotation[0, column])

    def slide(self, joint: str) -> float:
        """How far (metres) a sliding joint has moved from where it started."""
        number = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_JOINT, joint)
        return float(self.data.qpos[self.model.jnt_qposadr[number]])

    def touches_tool(self, body: str) -> bool:
        """Whether any part of the tool is in contact with the body."""
        pairs = self.data.contact.geom
        if not len(pairs):
            return False
        owners = self.model.geom_bodyid[pairs] == self.body_id(body)
        return bool((owners & self._is_tool[pairs][:, ::-1]).any())

    def blocks(self) -> list[Block]:
        """The blocks in the scene."""
        return [part for part in self.parts if isinstance(part, Block)]

    def is_on_table(self, body: str) -> bool:
        """Whether a block lies on the table itself, lifted by nothing."""
        return bool(self.position(body)[2] < BLOCK_HALF * 1.5)


def _xml(arm: Arm, parts: Sequence[Part], image_size: int) -> str:
    blocks = tuple(part.body for part in parts if isinstance(part, Block))
    return f"""<mujoco>
<compiler angle="radian" autolimits="true"/>
<option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="20"/>
<default><geom solref="0.01 1" solimp="0.95 0.99 0.001"/></default>
<size memory="2M"/>
<visual>
  <global offwidth="{image_size}" offheight="{image_size}"/>
  <quality shadowsize="0" offsamples="0" numslices="14" numstacks="8"/>
  <headlight ambient="0.35 0.35 0.35" diffuse="0.25 0.25 0.25" specular="0 0 0"/>
  <map znear="0.01"/>
</visual>
<worldbody>
  <light name="lamp" type="directional" castshadow="false" specular="0 0 0"/>
  <camera name="front" xyaxes="{_facing(FRONT_CAMERA, FRONT_TARGET)}" fovy="{FRONT_FOV}"/>
  {arm.xml()}
  <geom name="table" type="plane" size="2 2 0.1" friction="0.6 0.005 0.0001"/>
  {"".join(part.xml() for part in parts)}
</worldbody>
{arm.extras_xml(blocks)}
</mujoco>"""


def _facing(eye: np.ndarray, target: np.ndarray) -> str:
    """MJCF xyaxes of an upright camera at `eye` that looks at `target`."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return _numbers([*right, *np.cross(right, forward)])


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in values)
