"""A robot in real time: what a driver has to offer to be driven by a policy."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from wla.robots.safety_limits import SafetyLimits
from wla.specs import RobotSpec
from wla.types import Observation


@runtime_checkable
class Robot(Protocol):
    """A robot, real or simulated. Numbers have the units, frames and order of its spec.

    Any method may raise: whoever drives the robot then calls `stop` and `close`. Nothing but `connect` moves it before
    the first `act`.
    """

    @property
    def robot_spec(self) -> RobotSpec: ...

    @property
    def safety_limits(self) -> SafetyLimits:
        """What no action may pass, from the data sheet of the robot and its cell."""
        ...

    def connect(self) -> None:
        """Makes it ready. OSError or ValueError, in one line, where that is not possible."""
        ...

    def observe(self) -> Observation:
        """The images and the state of now. A camera that is slower than the control loop gives its latest image."""
        ...

    def act(self, action: Float32[np.ndarray, " A"]) -> None:
        """Begins to execute an action (A,) and returns without waiting for the motion's end."""
        ...

    def stop(self) -> None:
        """Ends all motion as soon as the robot can, and keeps its place; also after a failed `observe` or `act`."""
        ...

    def close(self) -> None:
        """Lets the robot go; nothing follows. Also where `connect` failed."""
        ...
