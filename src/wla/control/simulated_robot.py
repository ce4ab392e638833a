"""A simulated environment behind the protocol of robots: it moves when an action comes, and stands still otherwise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from wla.robots.safety_limits import SafetyLimits
from wla.specs import RobotSpec
from wla.types import Env, Observation, Outcome


class SimulatedRobot:
    """A robot whose body is an environment. One action is one control step of it, however long the step takes here."""

    def __init__(self, env: Env, *, seed: int = 0, limits: SafetyLimits | None = None) -> None:
        """seed: of the scene. limits: when left out, those of the environment's actions, without a ramp."""
        self.env, self._seed = env, seed
        self._limits = limits or SafetyLimits.of(env.robot_spec.action).replace(ramp_s=0.0)
        self._observation: Observation | None = None
        self.instruction = ""
        self.outcome: Outcome | None = None
        """How the task ended; None while it continues."""

    @property
    def robot_spec(self) -> RobotSpec:
        return self.env.robot_spec

    @property
    def safety_limits(self) -> SafetyLimits:
        return self._limits

    def connect(self) -> None:
        """Sets the scene up, unless it is; its instruction is then known."""
        if self._observation is not None:
            return
        raw, info = self.env.reset(seed=self._seed)
        self._observation, self.instruction, self.outcome = Observation(**raw), info["instruction"], None

    def observe(self) -> Observation:
        if self._observation is None:
            raise ValueError("the simulated robot is not connected")
        return self._observation

    def act(self, action: Float32[np.ndarray, " A"]) -> None:
        raw, _, terminated, truncated, info = self.env.step(action)
        self._observation = Observation(**raw)
        if self.outcome is None and (terminated or truncated):
            self.outcome = "success" if info["success"] else "failure"

    def stop(self) -> None:
        """Nothing moves without an action."""

    def close(self) -> None:
        self._observation = None
        self.env.close()
