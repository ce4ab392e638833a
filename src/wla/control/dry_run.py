"""A robot that is looked at but not moved: what a policy would do, before it may."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from wla.robots.base import Robot
from wla.robots.safety_limits import SafetyLimits
from wla.specs import RobotSpec
from wla.types import Observation


class DryRun:
    """Passes everything on but actions. low, high: the range (A,) of what would have been sent; None before that."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self.low: Float32[np.ndarray, " A"] | None = None
        self.high: Float32[np.ndarray, " A"] | None = None

    @property
    def robot_spec(self) -> RobotSpec:
        return self._robot.robot_spec

    @property
    def safety_limits(self) -> SafetyLimits:
        return self._robot.safety_limits

    def connect(self) -> None:
        self._robot.connect()

    def observe(self) -> Observation:
        return self._robot.observe()

    def act(self, action: Float32[np.ndarray, " A"]) -> None:
        self.low = action if self.low is None else np.minimum(self.low, action)
        self.high = action if self.high is None else np.maximum(self.high, action)

    def stop(self) -> None:
        self._robot.stop()

    def close(self) -> None:
        self._robot.close()
