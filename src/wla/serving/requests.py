"""What clients send, as an observation of the policy's robot.

The first camera is `observation/image`, the second `observation/wrist_image`, any `observation/images/NAME`; the state
`observation/state`; the instruction `prompt` (openpi, examples/libero and docs/remote_inference). The names that
openpi's examples use for DROID and ALOHA stand for the same parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from wla.data.images import fit_image
from wla.foreign import shown
from wla.serving.wire import WireError
from wla.specs import ObservationSpec
from wla.types import Observation

MAX_PROMPT_BYTES = 4096
MAX_SIDE = 4096
"""Pixels of the longest side of an image."""
MAX_PAST_IMAGES = 256
MAX_STEPS = 10**6
"""Control steps between two requests."""
MAX_PREFIX = 1024
"""Actions that remain of a chunk."""
MAX_NAME = 128
"""Characters of a session's name."""
_STATE_PARTS = ("observation/joint_position", "observation/gripper_position")
_CAMERA_ALIASES = (
    ("observation/image", "observation/exterior_image_1_left", "observation/exterior_image_0_left"),
    ("observation/wrist_image", "observation/wrist_image_left"),
)
"""Names of the first and of the second camera."""
OPTIONS = tuple(
    f"wla/{name}"
    for name in (
        "session_id",
        "seed",
        "commit",
        "discard",
        "imagine",
        "flow_steps",
        "memory",
        "past_images",
        "prefix",
        "delay",
        "limits",
    )
)
Image = UInt8[np.ndarray, "H W 3"]
ROBOARENA = ("endpoint", "session_id")


@dataclass(frozen=True)
class Commit:
    """A prediction whose first `executed` actions were executed, and how many control steps a person, or whoever took
    the robot over, moved it since. Prediction 0 is the beginning of the episode."""

    prediction_id: int
    executed: int
    taken_over: int = 0

    @property
    def steps(self) -> int:
        return self.executed + self.taken_over


@dataclass(frozen=True)
class Request:
    """A request for a chunk.

    commit: what was executed of an earlier prediction; None: its advised number of actions. discard: the prediction of
    which nothing was. memory: finished subtasks that replace those in the policy's memory. past_images: of the
    primary camera since the last request, for a policy that reads them. prefix, delay: see `Policy.act`. limits: the
    lowest and the highest action that the robot executes.
    """

    observation: Observation
    prompt: str
    session_id: str | None = None
    seed: int = 0
    commit: Commit | None = None
    discard: int | None = None
    imagine: bool = False
    flow_steps: int | None = None
    memory: tuple[str, ...] | None = None
    past_images: tuple[Image, ...] = ()
    prefix: Float32[np.ndarray, "p A"] | None = None
    delay: int | None = None
    limits: Float32[np.ndarray, "2 A"] | None = None


class RequestReader:
    """Reads the requests for a policy of one robot. Every WireError says which part is wrong, and what it should be."""

    def __init__(self, spec: ObservationSpec) -> None:
        self._spec = spec
        self._names = {f"observation/images/{camera}": camera for camera in spec.cameras}
        for camera, aliases in zip(spec.cameras, _CAMERA_ALIASES, strict=False):
            self._names |= dict.fromkeys(aliases, camera)
        self._known = {*self._names, "observation/state", "state", "images", "prompt", *_STATE_PARTS}
        self._known |= {*OPTIONS, *ROBOARENA}

    def read(self, fields: Any) -> Request:
        """The request of a decoded frame."""
        if not isinstance(fields, Mapping):
            raise WireError(f"a request is a map of names to values, not {_described(fields)}")
        unknown = [name for name in fields if name not in self._known]
        if unknown:
            raise WireError(f"{shown(unknown[0])} is not read here; this policy reads {', '.join(self.names)}")
        return Request(
            Observation(self._images(fields), self._state(fields)),
            read_text(fields.get("prompt"), "prompt", MAX_PROMPT_BYTES),
            session_name(fields),
            read_whole(fields.get("wla/seed", 0), "wla/seed", 2**63 - 1),
            _commit(fields.get("wla/commit")),
            _optional_whole(fields, "wla/discard", 2**63 - 1),
            fields.get("wla/imagine") is True,
            None
            if fields.get("wla/flow_steps") is None
            else read_whole(fields["wla/flow_steps"], "wla/flow_steps", 1000),
            None if fields.get("wla/memory") is None else texts(fields["wla/memory"], "wla/memory"),
            self._past_images(fields.get("wla/past_images")),
            _prefix(fields.get("wla/prefix")),
            _optional_whole(fields, "wla/delay", MAX_PREFIX),
            _limits(fields.get("wla/limits")),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of an observation's parts, the canonical ones."""
        cameras = [aliases[0] for _, aliases in zip(self._spec.cameras, _CAMERA_ALIASES, strict=False)]
        others = [f"observation/images/{camera}" for camera in list(self._spec.cameras)[len(cameras) :]]
        state = ["observation/state"] if self._spec.state_dim else []
        return (*cameras, *others, *state, "prompt")

    def _images(self, fields: Mapping[str, Any]) -> dict[str, UInt8[np.ndarray, "H W 3"]]:
        given = {camera: fields[name] for name, camera in self._names.items() if name in fields}
        nested = fields.get("images", {})
        if not isinstance(nested, Mapping):
            raise WireError(f"images is a map of cameras to images, not {_described(nested)}")
        unknown = [name for name in nested if name not in self._spec.cameras]
        if unknown:
            raise WireError(f"images: no camera {shown(unknown[0])}; this policy sees {', '.join(self._spec.cameras)}")
        given |= nested
        absent = [camera for camera in self._spec.cameras if camera not in given]
        if absent:
            name = self.names[list(self._spec.cameras).index(absent[0])]
            raise WireError(f"the image of camera {absent[0]!r} is missing; send it as {name}")
        return {camera: read_image(given[camera], camera, size) for camera, size in self._spec.cameras.items()}

    def _past_images(self, value: Any) -> tuple[Image, ...]:
        if value is None:
            return ()
        if not isinstance(value, np.ndarray) or value.ndim != 4 or len(value) > MAX_PAST_IMAGES:
            raise WireError(
                f"wla/past_images is {_described(value)}; send uint8 (steps, height, width, 3), up to {MAX_PAST_IMAGES}"
            )
        camera, size = self._spec.primary_camera, self._spec.cameras[self._spec.primary_camera]
        return tuple(read_image(image, camera, size) for image in value)

    def _state(self, fields: Mapping[str, Any]) -> Float32[np.ndarray, " S"]:
        names = next((parts for parts in (("observation/state",), ("state",)) if parts[0] in fields), _STATE_PARTS)
        parts = [(fields[name], _numbers(fields[name])) for name in names if name in fields]
        if not self._spec.state_dim:
            return np.zeros(0, np.float32)
        if not parts:
            raise WireError(f"observation/state is missing; send {self._expected_state}")
        for given, numbers in parts:
            if numbers is None or numbers.ndim != 1:
                raise WireError(f"observation/state is {_described(given)}; send {self._expected_state}")
        state = np.concatenate([numbers for _, numbers in parts if numbers is not None])
        if len(state) != self._spec.state_dim:
            raise WireError(f"observation/state has {len(state)} numbers; send {self._expected_state}")
        if not np.isfinite(state).all():
            name = self._spec.state_names[int(np.argmin(np.isfinite(state)))]
            raise WireError(f"observation/state is not finite in {name!r}; check the robot's sensors")
        return state

    @property
    def _expected_state(self) -> str:
        return f"{self._spec.state_dim} numbers: {', '.join(self._spec.state_names)}"


def read_image(image: Any, camera: str, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """An image as uint8 RGB of the robot's size: from (3, H, W), and numbers in 0 .. 1, too. WireError for others."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or 3 not in (image.shape[0], image.shape[2]):
        raise WireError(f"the image of {camera!r} is {_described(image)}; send uint8 (height, width, 3), RGB")
    if image.shape[2] != 3:
        image = image.transpose(1, 2, 0)
    if not 1 <= min(image.shape[:2]) <= max(image.shape[:2]) <= MAX_SIDE:
        raise WireError(f"the image of {camera!r} is {_described(image)}; up to {MAX_SIDE} pixels a side are read")
    if image.dtype.kind == "f":
        if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
            raise WireError(f"the image of {camera!r} has numbers outside of 0 .. 1; send uint8, or numbers in 0 .. 1")
        image = np.round(image * 255).astype(np.uint8)
    if image.dtype != np.uint8:
        raise WireError(f"the image of {camera!r} is {_described(image)}; send uint8, or numbers in 0 .. 1")
    return fit_image(image, size)


def session_name(fields: Mapping[str, Any]) -> str | None:
    """The session that a request names; None where it names none. WireError for what is no name."""
    name = fields.get("wla/session_id", fields.get("session_id"))
    return None if name is None else read_text(name, "session_id", MAX_NAME)


def read_text(value: Any, name: str, limit: int) -> str:
    """A text of up to `limit` bytes that is not blank. WireError for others; `name` is what they should have been."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) or not value.strip():
        raise WireError(f"{name} is {'missing' if value is None else 'empty or no text'}; send a text")
    if len(value.encode("utf-8", "replace")) > limit:
        raise WireError(f"{name} has {len(value)} characters; up to {limit} bytes are read")
    return value


def read_whole(value: Any, name: str, limit: int) -> int:
    """A whole number in 0 .. limit. WireError for others."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is not int or not 0 <= value <= limit:
        raise WireError(f"{name} is {shown(value)}; send a whole number from 0 to {limit}")
    return value


def _numbers(value: Any) -> Float32[np.ndarray, "*shape"] | None:
    """Numbers of an array, a list or a single one; None for anything else. Too large ones are infinite."""
    try:
        numbers = np.atleast_1d(np.asarray(value))
    except ValueError:  # lists of different lengths
        return None
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32) if numbers.dtype.kind in "biuf" else None


def _optional_whole(fields: Mapping[str, Any], name: str, limit: int) -> int | None:
    return None if fields.get(name) is None else read_whole(fields[name], name, limit)


def _prefix(value: Any) -> Float32[np.ndarray, "p A"] | None:
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.ndim != 2 or not 1 <= len(value) <= MAX_PREFIX:
        raise WireError(f"wla/prefix is {_described(value)}; send (actions, dimensions), up to {MAX_PREFIX} actions")
    prefix = _numbers(value)
    if prefix is None or not np.isfinite(prefix).all():
        raise WireError("wla/prefix is not finite; send the actions that remain")
    return prefix


def _limits(value: Any) -> Float32[np.ndarray, "2 A"] | None:
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.ndim != 2 or len(value) != 2 or np.isnan(value).any():
        raise WireError(f"wla/limits is {_described(value)}; send (2, dimensions): the lowest and the highest actions")
    return _numbers(value)


def _commit(value: Any) -> Commit | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or set(value) - {"taken_over"} != {"prediction_id", "executed"}:
        raise WireError(f"wla/commit is {_described(value)}; send a map with prediction_id and executed")
    limits = {"prediction_id": 2**63 - 1, "executed": MAX_STEPS, "taken_over": MAX_STEPS}
    return Commit(**{name: read_whole(value[name], f"wla/commit {name}", limits[name]) for name in value})


def texts(value: Any, name: str) -> tuple[str, ...]:
    """A memory. WireError for anything but a list of texts."""
    if not isinstance(value, list):
        raise WireError(f"{name} is {_described(value)}; send a list of texts")
    return tuple(read_text(item, f"an item of {name}", MAX_PROMPT_BYTES) for item in value)


def _described(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
