"""What a scripted expert must know of a scene: poses, sizes and contacts, read from the simulator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " 3"]
Matrix = Float[np.ndarray, "3 3"]


@dataclass(frozen=True)
class Solid:
    """An object's collision geometry as a box: centre and axes (columns) in the world, half sizes along them.

    position: of the body, which rules of success look at; it is not the centre of the box.
    """

    position: Vector
    centre: Vector
    axes: Matrix
    half: Vector

    @property
    def up(self) -> int:
        """The axis that is nearest to the vertical."""
        return int(np.abs(self.axes[2]).argmax())

    @property
    def reach(self) -> Vector:
        """Half sizes of the box around it that is parallel to the world's axes."""
        return np.abs(self.axes) @ self.half

    @property
    def top(self) -> float:
        return float(self.centre[2] + self.reach[2])

    @property
    def bottom(self) -> float:
        return float(self.centre[2] - self.reach[2])


class Scene:
    """The scene of a robosuite environment of the benchmark's."""

    def __init__(self, simulator: Any) -> None:
        self._own = simulator
        self._model, self._data = simulator.sim.model, simulator.sim.data
        self._robot = simulator.robots[0]

    @property
    def goals(self) -> list[tuple[str, str]]:
        """The objects to place and what to place each on or in, of goals of two parts."""
        return [(goal[1], goal[2]) for goal in self._own.parsed_problem["goal_state"] if len(goal) == 3]

    @property
    def solved(self) -> bool:
        return bool(self._own._check_success())

    @property
    def hand(self) -> tuple[Vector, Matrix]:
        """Position between the fingertips, and the hand's axes: y from finger to finger, z out of the hand."""
        site = self._robot.eef_site_id
        pads = (self._robot.gripper.important_geoms[f"{side}_fingerpad"][0] for side in ("left", "right"))
        left, right = (self._data.geom_xpos[self._model.geom_name2id(pad)] for pad in pads)
        across = (right - left) / np.linalg.norm(right - left)
        out = np.array(self._data.site_xmat[site]).reshape(3, 3)[:, 2]
        return np.array(self._data.site_xpos[site]), np.stack([np.cross(across, out), across, out], axis=1)

    @property
    def opening(self) -> float:
        """Distance between the fingers, metres."""
        left, right = (self._data.qpos[index] for index in self._robot._ref_gripper_joint_pos_indexes)
        return float(left - right)

    def holds(self, name: str) -> bool:
        """Whether both fingers touch the object."""
        parts = self._robot.gripper.important_geoms
        fingers = [parts[f"{side}_finger"] for side in ("left", "right")]
        return bool(self._own._check_grasp(gripper=fingers, object_geoms=self._own.objects_dict[name]))

    def target(self, name: str) -> tuple[Vector, float]:
        """Position of an object or region, and the height at which to let go of what shall be there, of its bottom."""
        if name in self._own.object_sites_dict:
            position = np.array(self._data.get_site_xpos(name))
            return position, float(position[2]) + 0.03
        position = self.solid(name).position
        return position, float(position[2]) + 0.005

    def things(self) -> list[str]:
        """Names of all objects and fixtures that have a shape."""
        return [name for name in self._own.obj_body_id if self._geoms(name)]

    def solid(self, name: str) -> Solid:
        body = self._own.obj_body_id[name]
        position, axes = np.array(self._data.body_xpos[body]), np.array(self._data.body_xmat[body]).reshape(3, 3)
        corners = np.concatenate([self._corners(geom) for geom in self._geoms(name)])
        own = (corners - position) @ axes
        low, high = own.min(0), own.max(0)
        return Solid(position, position + axes @ ((low + high) / 2), axes, (high - low) / 2)

    def room(self, point: Vector, name: str) -> float:
        """Distance of a point from all things but one, metres."""
        geoms = [geom for other in self.things() if other != name for geom in self._geoms(other)]
        boxes = self._model.geom_aabb[geoms]
        axes = np.array(self._data.geom_xmat[geoms]).reshape(-1, 3, 3)
        own = np.einsum("gij,gi->gj", axes, point - self._data.geom_xpos[geoms]) - boxes[:, :3]
        return float(np.linalg.norm(np.maximum(np.abs(own) - boxes[:, 3:], 0.0), axis=1).min(initial=np.inf))

    def _geoms(self, name: str) -> list[int]:
        known = self._own.objects_dict.get(name) or self._own.fixtures_dict.get(name)
        names: Iterable[str] = getattr(known, "contact_geoms", ())
        return [self._model.geom_name2id(geom) for geom in names]

    def _corners(self, geom: int) -> Float[np.ndarray, "8 3"]:
        """Corners of a geom's box in the world."""
        box = self._model.geom_aabb[geom]
        signs = np.array(list(product((-1.0, 1.0), repeat=3)))
        axes = np.array(self._data.geom_xmat[geom]).reshape(3, 3)
        return self._data.geom_xpos[geom] + (box[:3] + signs * box[3:]) @ axes.T
