"""The last thing before a motor: whatever a policy asks for, what comes out is within the limits, or the robot holds.

A step is limited in velocity and acceleration, and by the distance that is left for braking: a robot that is slowed
to a stop at a position limit never needs more deceleration than it has. So the three can always be met together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from wla.robots.safety_limits import SafetyLimits
from wla.robots.units import conversion
from wla.specs import RobotSpec

Reason = Literal["not finite", "stale", "missing", "stopped", "position", "velocity", "acceleration", "ramp"]
Vector = Float64[np.ndarray, " A"]


class EmergencyStop(ValueError):
    """Raised by a policy that does not act because a person stopped its robot."""


@dataclass(frozen=True)
class Intervention:
    """A change of what was asked for. dimension: of the action; '' for the whole action. step: control steps so far."""

    step: int
    reason: Reason
    dimension: str = ""
    requested: float | None = None
    executed: float | None = None


class SafetyLayer:
    """Filters one robot's actions, a call per control step."""

    def __init__(self, spec: RobotSpec, limits: SafetyLimits) -> None:
        """ValueError for limits of another number of dimensions, for a state dimension that does not exist, for a
        limited change of what is measured in a unit that is not converted, and for a robot of which something is
        unknown."""
        spec.require_known("the safety layer")
        action = spec.action
        if len(limits.velocity) != action.dim:
            raise ValueError(f"safety limits have {len(limits.velocity)} dimensions, the robot's actions {action.dim}")
        self._names, self._period = action.names, 1.0 / action.rate_hz
        self._absolute = np.array([kind == "absolute" for kind in action.kinds])
        self._low, self._high = np.array(limits.position_low), np.array(limits.position_high)
        # Per control step: displacement, and change of displacement.
        speed, low, high = np.array(limits.velocity) * self._period, np.array(action.low), np.array(action.high)
        self._slowest = np.where(self._absolute, -speed, np.maximum(-speed, np.minimum(low, 0.0)))
        self._fastest = np.where(self._absolute, speed, np.minimum(speed, np.maximum(high, 0.0)))
        self._change = np.array(limits.acceleration) * self._period**2
        moved = _moved(spec, limits)
        self._measured = [index for index, _ in moved]
        self._factors = np.array([factor for _, factor in moved])
        self._moved_by_changes = ~self._absolute & np.array([index is not None for index in self._measured])
        self._unknown = self._absolute & np.array([index is None for index in self._measured])
        self._hold_after_s = max(limits.hold_after_s, self._period)
        self._ramp_steps = round(limits.ramp_s / self._period)
        self._stopped: str | None = None
        self.reset()

    def reset(self) -> None:
        """Begins an episode: nothing was commanded yet. A stop stays."""
        self._commanded = np.full(len(self._names), np.nan)
        self._displacement = np.zeros(len(self._names))
        self._steps, self._ramp, self._since_fresh = 0, 0, 0.0

    @property
    def stopped(self) -> str | None:
        """The reason of the emergency stop; None while there is none."""
        return self._stopped

    @property
    def still(self) -> bool:
        """Whether the last step asked for no motion."""
        return not self._displacement.any()

    @property
    def action_limits(self) -> Float32[np.ndarray, "2 A"]:
        """The lowest and the highest action that is ever executed: positions, and changes per control step."""
        low = np.where(self._absolute, self._low, self._slowest)
        return np.stack([low, np.where(self._absolute, self._high, self._fastest)]).astype(np.float32)

    def stop(self, reason: str) -> None:
        """Stops for good: from the next step on the robot holds, until `release`."""
        self._stopped = self._stopped or reason

    def release(self) -> None:
        """Ends an emergency stop; the robot begins to move slowly."""
        self._stopped, self._ramp = None, 0

    def step(
        self,
        action: np.ndarray | None,
        state: Float32[np.ndarray, " S"],
        *,
        age_s: float = 0.0,
    ) -> tuple[Float32[np.ndarray, " A"] | None, tuple[Intervention, ...]]:
        """The action to execute at this control step, and why it differs from what was asked for.

        Without a usable action the robot holds: delta dimensions get zero, absolute ones what was executed last, each
        as soon as its limits allow. None: nothing may be sent yet, because nobody knows where an absolute dimension is
        before its first action.

        action: (A,); one of another shape is not executed. None where there is none in time. state: as measured now;
        where a dimension is not finite that the action changes, the action is not executed.
        age_s: seconds since the time at which the action was due; an older one than `SafetyLimits.hold_after_s` is
        not executed.
        """
        self._steps += 1
        measured = np.array([np.nan if index is None else float(state[index]) for index in self._measured])
        measured *= self._factors
        reason = self._refusal(action, age_s, measured)
        asked = None if reason is not None or action is None else action.astype(np.float64)
        notes = [] if reason is None else [Intervention(self._steps, reason)]
        self._count_hold(fresh=asked is not None)
        position = self._current(measured, asked)
        if np.isnan(position).any():
            return None, tuple(notes)
        wanted = np.zeros(len(position)) if asked is None else np.where(self._absolute, asked - position, asked)
        displacement, limited = self._limited(wanted, position, measured)
        executed = np.where(self._absolute, position + displacement, displacement).astype(np.float32)
        self._commanded = np.where(self._absolute, executed, np.nan)
        self._displacement = displacement
        if asked is not None:
            notes += self._notes(limited, asked, executed.astype(np.float64))
        return executed, tuple(notes)

    def _count_hold(self, *, fresh: bool) -> None:
        """A robot that has held begins to move again slowly."""
        if fresh:
            self._ramp, self._since_fresh = min(self._ramp + 1, self._ramp_steps), 0.0
            return
        self._since_fresh += self._period
        if self._since_fresh >= self._hold_after_s:
            self._ramp = 0

    def _refusal(self, action: np.ndarray | None, age_s: float, measured: Vector) -> Reason | None:
        if self._stopped is not None:
            return "stopped"
        if action is None:
            return "missing"
        if action.shape != (len(self._names),) or not np.isfinite(action).all():
            return "not finite"
        if any(np.isnan(measured) & self._moved_by_changes):
            return "not finite"  # nobody knows how far the limits are
        return "stale" if not age_s <= self._hold_after_s else None

    def _current(self, measured: Vector, asked: Vector | None) -> Vector:
        """Where each dimension is: absolute ones as commanded last, or as measured before that; the others as measured.

        0 for a delta dimension that moves nothing that is measured, NaN for an absolute one before its first action.
        """
        first = np.full(len(measured), np.nan) if asked is None else np.clip(asked, self._low, self._high)
        begun = np.where(self._unknown, first, measured)
        known = np.where(self._absolute & ~np.isnan(self._commanded), self._commanded, begun)
        return np.where(self._absolute | np.isfinite(known), known, 0.0)

    def _limited(self, wanted: Vector, position: Vector, measured: Vector) -> tuple[Vector, dict[Reason, np.ndarray]]:
        """The displacement of this step, and which dimensions each limit changed."""
        known = self._absolute | ~np.isnan(measured)
        up = np.where(known, _braking(self._high - position, self._change), np.inf)
        down = np.where(known, _braking(position - self._low, self._change), np.inf)
        ramp = self._ramp / self._ramp_steps if self._ramp_steps else 1.0
        bounds: list[tuple[Reason, Vector, Vector]] = [
            ("velocity", self._slowest, self._fastest),
            ("acceleration", self._displacement - self._change, self._displacement + self._change),
            ("position", -down, up),
        ]
        if 0 < ramp < 1:
            bounds.insert(0, ("ramp", self._slowest * ramp, self._fastest * ramp))
        changed: dict[Reason, np.ndarray] = {}
        for reason, lower, upper in bounds:
            limited = np.minimum(np.maximum(wanted, lower), upper)
            changed[reason] = ~np.isclose(limited, wanted, rtol=1e-6, atol=1e-9)
            wanted = limited
        return wanted, changed

    def _notes(self, limited: dict[Reason, np.ndarray], asked: Vector, executed: Vector) -> list[Intervention]:
        return [
            Intervention(self._steps, reason, self._names[index], float(asked[index]), float(executed[index]))
            for reason, changed in limited.items()
            for index in np.flatnonzero(changed)
        ]


def _braking(distance: Vector, change: Vector) -> Vector:
    """The largest displacement in a step from which the rest of `distance` suffices to stop.

    change: by how much the displacement may shrink from one step to the next. Displacements s, s - c, s - 2c .. sum to
    (n + 1) s - c n (n + 1) / 2 with n = floor(s / c), which is at most `distance`.
    """
    distance = np.maximum(distance, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = np.where(np.isfinite(change), distance / change, 0.0)
        steps = np.floor((np.sqrt(1.0 + 8.0 * ratio) - 1.0) / 2.0)
        bounded = distance / (steps + 1.0) + np.where(np.isfinite(change), change, 0.0) * steps / 2.0
    return np.where(np.isfinite(distance), bounded, np.inf)


def _moved(spec: RobotSpec, limits: SafetyLimits) -> list[tuple[int | None, float]]:
    """The index of the state dimension that each action dimension moves, and what brings it into the action's unit."""
    state_names, found = spec.observation.state_names, list[tuple[int | None, float]]()
    for number, (name, unit, kind) in enumerate(
        zip(spec.action.names, spec.action.units, spec.action.kinds, strict=True)
    ):
        given = limits.moves[number] if limits.moves else None
        if given is not None and given not in state_names:
            raise ValueError(f"safety limits: {name!r} moves {given!r}, and the state has {', '.join(state_names)}")
        names = [given] if limits.moves else [name, name.removeprefix("d")]
        index = next((state_names.index(each) for each in names if each in state_names), None)
        measured = unit if index is None else spec.observation.state_units[index]
        factor = conversion(measured, unit)
        if factor is None:
            index = None  # numbers in other units say nothing about where it is
            limited = np.isfinite([limits.position_low[number], limits.position_high[number]]).any()
            if limited and (kind == "delta" or given is not None):
                raise ValueError(
                    f"safety limits: {name!r} is in {unit!r}, and what it moves is measured in {measured!r}, so that "
                    "its position limits could not be kept; state both in one unit, or -inf and inf"
                )
        found.append((index, 1.0 if factor is None else factor))
    return found
