"""The arm of LIBERO as each protocol shows it to a policy: observations and actions in the protocol's numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from wla.envs.libero.protocols import Protocol, StatePart
from wla.robots.libero import LIBERO_PANDA
from wla.specs import RobotSpec

Observed = Mapping[str, Any]
"""What the simulator observes, by its own names."""
JOINTS = 7


def axis_angle(quaternion: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 3"]:
    """The rotation vector of a quaternion (x, y, z, w), as robosuite and the published recordings have it.

    The hand points down, where w is near zero and changes sign: angles reach from 0 to 2 pi, and the quaternion's sign
    is kept. With the other sign, or an angle of at most pi, the numbers are other ones than those learned from.
    """
    w = min(max(float(quaternion[3]), -1.0), 1.0)
    length = math.sqrt(1.0 - w * w)
    if math.isclose(length, 0.0):
        return np.zeros(3)
    return quaternion[:3] * (2.0 * math.acos(w) / length)


_PARTS: Mapping[StatePart, tuple[tuple[str, ...], str, Callable[[Observed], Any]]] = {
    "position": (("x", "y", "z"), "m", lambda seen: seen["robot0_eef_pos"]),
    "axis_angle": (("rx", "ry", "rz"), "rad", lambda seen: axis_angle(seen["robot0_eef_quat"])),
    "fingers": (("finger_left", "finger_right"), "m", lambda seen: seen["robot0_gripper_qpos"]),
    "joints": (tuple(f"joint_{i}" for i in range(JOINTS)), "rad", lambda seen: seen["robot0_joint_pos"]),
}
"""Part of a state -> names, unit, and where the simulator observes it."""


def robot_spec(protocol: Protocol, image_size: int) -> RobotSpec:
    """The robot that a policy of this protocol acts on, with square images."""
    open_, closed = protocol.gripper
    names = {part: _PARTS[part][0] for part in protocol.state}
    action = {"gripper": _stated(protocol.gripper), "low": (*(-1.0,) * 6, min(open_, closed))}
    observation = {
        "cameras": dict.fromkeys(protocol.cameras.values(), (image_size, image_size)),
        "state_names": tuple(name for part in names.values() for name in part),
        "state_units": tuple(_PARTS[part][1] for part, own in names.items() for _ in own),
        "state_frame": "joint" if "joints" in names else "world",
    }
    return LIBERO_PANDA.model_copy(
        update={
            "embodiment": protocol.embodiment,
            "action": LIBERO_PANDA.action.model_copy(update=action),
            "observation": LIBERO_PANDA.observation.model_copy(update=observation),
        }
    )


def observation(seen: Observed, protocol: Protocol) -> dict[str, Any]:
    """What the simulator observes as an observation of `wla.types.Env`."""
    images = {
        name: _image(seen[f"{camera}_image"], turned=protocol.turned) for camera, name in protocol.cameras.items()
    }
    state = np.concatenate([_PARTS[part][2](seen) for part in protocol.state])
    return {"images": images, "state": state.astype(np.float32)}


def simulator_action(action: Float32[np.ndarray, " 7"], protocol: Protocol) -> Float[np.ndarray, " 7"]:
    """The action in the simulator's numbers, within its limits: the gripper from -1 open to 1 closed."""
    open_, closed = protocol.gripper
    given = np.asarray(action, np.float64)
    given[6] = 2.0 * (given[6] - open_) / (closed - open_) - 1.0
    return np.clip(given, -1.0, 1.0)


def policy_action(action: Float[np.ndarray, " 7"], protocol: Protocol) -> Float32[np.ndarray, " 7"]:
    """The inverse of `simulator_action`."""
    open_, closed = protocol.gripper
    given = np.clip(action, -1.0, 1.0)
    given[6] = open_ + (given[6] + 1.0) / 2.0 * (closed - open_)
    return given.astype(np.float32)


def _image(image: UInt8[np.ndarray, "H W 3"], *, turned: bool) -> UInt8[np.ndarray, "H W 3"]:
    return np.array(image[::-1, ::-1] if turned else image)


def _stated(gripper: tuple[float, float]) -> str:
    words = sorted(zip(gripper, ("open", "closed"), strict=True))
    return " .. ".join(f"{value:g} {word}" for value, word in words)
