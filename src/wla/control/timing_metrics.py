"""How smoothly and how much in time an episode's actions came, for policies that act behind a delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from wla.policy.baselines import GRIPPERS
from wla.specs import ActionSpec
from wla.types import StepTiming


@dataclass(frozen=True)
class TimingScore:
    """Timing of an episode.

    stale: fraction of the control steps without an action, in which the robot held. border_jerk, jerk: mean change of
    the commanded acceleration at the first action of a chunk, and at all other steps, in percent of the largest motion
    per step; None where there is no such step. Grippers do not count.
    """

    stale: float
    border_jerk: float | None
    jerk: float | None


class TimingMetrics:
    """Collects an episode's executed actions."""

    def __init__(self, spec: ActionSpec) -> None:
        self._moving = np.array([name not in GRIPPERS for name in spec.names])
        self._absolute = np.array([kind == "absolute" for kind in spec.kinds])
        self._unit = np.array(spec.high) - np.array(spec.low)
        self._actions: list[np.ndarray] = []
        self._timings: list[StepTiming] = []

    def add(self, action: Float32[np.ndarray, " A"], timing: StepTiming | None) -> None:
        if timing is not None:
            self._actions.append(action)
            self._timings.append(timing)

    def score(self) -> TimingScore | None:
        """None for a policy that does not act behind a delay."""
        if not self._timings:
            return None
        actions = np.array(self._actions, np.float64)[:, self._moving]
        steps = np.where(self._absolute[self._moving], np.diff(actions, axis=0, prepend=actions[:1]), actions)
        jerk = 100 * np.linalg.norm(np.diff(steps / self._unit[self._moving], n=2, axis=0), axis=1)
        border = np.array([timing.border for timing in self._timings])[2:]
        return TimingScore(
            stale=float(np.mean([timing.stale for timing in self._timings])),
            border_jerk=float(jerk[border].mean()) if border.any() else None,
            jerk=float(jerk[~border].mean()) if (~border).any() else None,
        )
