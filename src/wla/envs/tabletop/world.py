"""Scene with table, objects and arm, and the queries of tasks about it."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.appearance import Appearance
from wla.envs.tabletop.arm import Arm
from wla.envs.tabletop.cameras import FRONT_CAMERA, FRONT_POSITION
from wla.envs.tabletop.objects import BLOCK_HALF, Block, TableObject
from wla.envs.tabletop.physics import TIMESTEP, Physics


class World(Physics):
    """Physics of one episode with its `arm` and `objects`."""

    def __init__(self, arm: Arm, objects: Sequence[TableObject], image_size: int) -> None:
        """Compiles a scene.

        Args:
            arm: embodiment.
            objects: kinds of objects; `arrange` sets their positions.
            image_size: side of rendered images, pixels.
        """
        super().__init__(_xml(arm, objects, image_size))
        self.arm = arm
        self.objects = tuple(objects)

    def arrange(self, objects: Sequence[TableObject], appearance: Appearance) -> None:
        """Resets the scene to objects of the same kinds at new positions, with a new appearance."""
        self.objects = tuple(objects)
        mujoco.mj_resetData(self.model, self.data)
        self.model.geom("table").rgba[:3] = appearance.table
        self.model.light("lamp").dir[:] = appearance.light_direction
        self.model.light("lamp").diffuse[:] = appearance.light
        self.model.camera("front").pos[:] = FRONT_POSITION + appearance.camera_shift
        for part in objects:
            part.arrange(self, appearance)

    @property
    def tool(self) -> Float64[np.ndarray, " 3"]:
        """Position of the tool point, (3,) metres, world frame."""
        return self.arm.tool(self)

    def touches_tool(self, body: str) -> bool:
        """Returns whether any part of the tool is in contact with the body."""
        return self.touching(self.arm.bodies, (body,))

    def blocks(self) -> list[Block]:
        """Returns the blocks of the scene."""
        return [part for part in self.objects if isinstance(part, Block)]

    def is_on_table(self, body: str) -> bool:
        """Returns whether a block lies directly on the table."""
        return bool(self.position(body)[2] < BLOCK_HALF * 1.5)


def _xml(arm: Arm, objects: Sequence[TableObject], image_size: int) -> str:
    graspable = tuple(part.body for part in objects if part.graspable)
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
  <light name="lamp" directional="true" castshadow="false" specular="0 0 0"/>
  {FRONT_CAMERA}
  {arm.xml()}
  <geom name="table" type="plane" size="2 2 0.1" friction="0.6 0.005 0.0001"/>
  {"".join(part.xml() for part in objects)}
</worldbody>
{arm.extras_xml(graspable)}
</mujoco>"""
