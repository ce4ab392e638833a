"""What RoboTwin calls the parts of a robot's observations and actions, and in which order and units it has them.

An observation has `vision` (camera -> color, RGB) and `state`, an action is a map; their numbers have names per arm:
arm_joint_state (rad), ee_joint_state (the gripper, 0 closed .. 1 open) and ee_pose (m, quaternion w x y z), which
begin with left_ or right_ where there are two arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from jaxtyping import Float32

from wla.foreign import shown
from wla.robots.aloha import ROBOTWIN_CAMERAS
from wla.serving.requests import MAX_PROMPT_BYTES, read_image, read_text
from wla.serving.wire import WireError
from wla.specs import RobotSpec
from wla.types import Observation

POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
UNITS = {"joint": {"rad": 1.0, "deg": pi / 180}, "metre": {"m": 1.0, "cm": 0.01, "mm": 0.001}}
"""What a number of a robot is multiplied with, by its unit."""
GRIPPERS = {
    "0 closed .. 1 open": (1.0, 0.0),
    "0 open .. 1 closed": (-1.0, 1.0),
    "-1 closed .. 1 open": (0.5, 0.5),
    "-1 open .. 1 closed": (-0.5, 0.5),
}
"""Convention of a gripper -> factor and summand that make it 0 closed .. 1 open."""


@dataclass(frozen=True)
class Part:
    """Numbers that have one name there: theirs = scale * ours[indices] + offset."""

    name: str
    indices: tuple[int, ...]
    scale: Float32[np.ndarray, " k"]
    offset: Float32[np.ndarray, " k"]

    @property
    def is_pose(self) -> bool:
        return self.name.endswith("ee_pose")


class RoboTwinConvention:
    """Converts for one robot. action_type: what the evaluation has to ask for, `joint` or `ee`."""

    def __init__(self, spec: RobotSpec) -> None:
        """ValueError for a robot that RoboTwin could not express, with the reason."""
        action, observation = spec.action, spec.observation
        if set(action.kinds) != {"absolute"}:
            raise ValueError(f"the robot {spec.embodiment!r} acts by changes; RoboTwin takes joints and poses")
        self._spec = spec
        self._action = _parts(action.names, action.units, spec)
        self._state = _parts(observation.state_names, observation.state_units, spec)
        poses = {part.is_pose for part in self._action if not part.name.endswith("ee_joint_state")}
        if len(poses) != 1:
            raise ValueError(f"the robot {spec.embodiment!r} mixes joints and poses; RoboTwin takes one of them")
        self.action_type = "ee" if poses.pop() else "joint"
        self.cameras = {name: ROBOTWIN_CAMERAS.get(name, name) for name in observation.cameras}

    def require_action_type(self, asked: object) -> None:
        """WireError where an evaluation asks for actions of another type; None: it does not ask."""
        if asked is not None and not (isinstance(asked, str) and asked == self.action_type):
            raise WireError(
                f"the evaluation asks for actions of type {shown(asked)}; this policy's are of type "
                f"{self.action_type!r}"
            )

    def instruction(self, fields: Mapping[str, Any], fallback: object) -> str:
        """The instruction of an observation; `fallback`, that of the reset, where it has none."""
        given = fields.get("instruction")
        absent = given is None or (isinstance(given, str) and not given)
        return read_text(fallback if absent else given, "instruction", MAX_PROMPT_BYTES)

    def observation(self, fields: Mapping[str, Any]) -> Observation:
        """The observation of a map. WireError for a part that is missing or is not what it should be."""
        vision, state = _map(fields, "vision"), _map(fields, "state")
        images = {}
        for camera, name in self.cameras.items():
            view = vision.get(name)
            color = view.get("color") if isinstance(view, Mapping) else None
            if color is None:
                raise WireError(f"vision {name!r} color is missing; the policy sees {', '.join(self.cameras.values())}")
            images[camera] = read_image(color, name, self._spec.observation.cameras[camera])
        vector = np.zeros(self._spec.observation.state_dim, np.float32)
        for part in self._state:
            vector[list(part.indices)] = (_numbers(state.get(part.name), part) - part.offset) / part.scale
        return Observation(images, vector)

    def action(self, action: Float32[np.ndarray, " A"]) -> dict[str, Float32[np.ndarray, " k"]]:
        """An action within the robot's limits, by their names. Quaternions have length 1; ValueError for one of 0."""
        limited = np.clip(action, self._spec.action.low, self._spec.action.high).astype(np.float32)
        converted = {part.name: part.scale * limited[list(part.indices)] + part.offset for part in self._action}
        for pose in (converted[part.name] for part in self._action if part.is_pose):
            length = float(np.linalg.norm(pose[3:]))
            if length < 1e-3:
                raise ValueError("the policy's rotation is a quaternion of length 0")
            pose[3:] /= length
        return converted


def _parts(names: tuple[str, ...], units: tuple[str, ...], spec: RobotSpec) -> tuple[Part, ...]:
    """The parts of a vector, arm by arm."""
    sides = [side for side in ("left_", "right_") if any(name.startswith(side) for name in names)] or [""]
    outside = [name for name in names if not name.startswith(tuple(sides))]
    if outside:
        raise ValueError(f"the robot {spec.embodiment!r} has the dimension {outside[0]!r}, of neither arm; {_NEEDED}")
    parts = []
    for side in sides:
        own = {name.removeprefix(side): index for index, name in enumerate(names) if name.startswith(side)}
        gripper = own.pop("gripper", None)
        is_pose = set(own) == set(POSE)
        labels = POSE if is_pose else tuple(own)
        factors = [_factor(label, units[own[label]], is_pose, spec) for label in labels]
        name = f"{side}{'ee_pose' if is_pose else 'arm_joint_state'}"
        if labels:
            parts.append(_part(name, tuple(own[label] for label in labels), factors, 0.0))
        if gripper is not None:
            if spec.action.gripper not in GRIPPERS or units[gripper] != "1":
                raise ValueError(
                    f"the gripper of {spec.embodiment!r} is {spec.action.gripper!r} in {units[gripper]!r}; RoboTwin's "
                    f"has no unit (1), and these can be converted: {', '.join(GRIPPERS)}"
                )
            factor, summand = GRIPPERS[spec.action.gripper]
            parts.append(_part(f"{side}ee_joint_state", (gripper,), [factor], summand))
    return tuple(parts)


_NEEDED = "name them joint_1 .. joint_n or x y z qw qx qy qz, and gripper, with left_ and right_ before for two arms"


def _part(name: str, indices: tuple[int, ...], factors: list[float], summand: float) -> Part:
    return Part(name, indices, np.array(factors, np.float32), np.full(len(indices), summand, np.float32))


def _factor(label: str, unit: str, is_pose: bool, spec: RobotSpec) -> float:
    if is_pose and label.startswith("q"):
        return 1.0
    known = UNITS["metre" if is_pose else "joint"]
    if unit not in known:
        raise ValueError(f"the robot {spec.embodiment!r} has {label!r} in {unit!r}, RoboTwin in {', '.join(known)}")
    return known[unit]


def _map(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name, {})
    if not isinstance(value, Mapping):
        raise WireError(f"{name} of the observation is no map")
    return value


def _numbers(value: object, part: Part) -> Float32[np.ndarray, " k"]:
    """The numbers of a part: an array or a list of the right length."""
    if value is None:
        raise WireError(f"state {part.name!r} is missing; send {len(part.indices)} numbers")
    try:
        numbers = np.asarray(value)
    except ValueError:  # lists of different lengths
        numbers = np.zeros(0, object)
    with np.errstate(over="ignore"):  # what is too large is infinite
        numbers = numbers.astype(np.float32) if numbers.dtype.kind in "iuf" else np.zeros(0, np.float32)
    if numbers.size != len(part.indices) or not np.isfinite(numbers).all():
        raise WireError(f"state {part.name!r} is not {len(part.indices)} finite numbers; check the robot's sensors")
    return numbers.reshape(-1)
