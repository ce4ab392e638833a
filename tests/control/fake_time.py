"""A control loop's time and its worker, without waiting: answers take the seconds that a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import numpy as np
from toy_robot import robot

from wla.robots import SafetyLimits
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState

PERIOD = 0.1
"""Seconds between two control steps of the toy robot."""
SPEC = robot(limits=(-100.0, 100.0))


class FakeClock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def sleep_until(self, deadline: float) -> None:
        self.time = max(self.time, deadline)


class FakeAnswer:
    """A call whose result is there from the second `at` on."""

    def __init__(self, clock: FakeClock, at: float, call: Callable[[], Any]) -> None:
        self._clock, self._at, self._error = clock, at, None
        try:
            self._result = call()
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error

    def done(self) -> bool:
        return self._clock.time >= self._at - 1e-9

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class FakeWorker:
    """latencies: seconds of each call after the one that warms up, which takes a minute of no time."""

    def __init__(self, clock: FakeClock, latencies: float | Iterable[float] = 0.0) -> None:
        self._clock = clock
        self._latencies = iter(repeat(latencies) if isinstance(latencies, float) else chain([0.0], latencies))
        self.closed = False

    def submit(self, call: Callable[[], Any]) -> FakeAnswer:
        return FakeAnswer(self._clock, self._clock.time + next(self._latencies), call)

    def close(self) -> None:
        self.closed = True


class FakeRobot:
    """State 0 is the sum of what was executed. hangs: control step -> seconds that observing takes."""

    robot_spec = SPEC
    safety_limits = SafetyLimits.of(SPEC.action).replace(ramp_s=0.0)

    def __init__(self, clock: FakeClock, *, hangs: dict[int, float] | None = None) -> None:
        self._clock, self._hangs = clock, hangs or {}
        self.calls: list[str] = []
        self.actions: list[np.ndarray] = []
        self.times: list[float] = []
        self.observed = 0

    def connect(self) -> None:
        self.calls.append("connect")

    def observe(self) -> Observation:
        self._clock.time += self._hangs.get(self.observed - 1, 0.0)  # the first look is before the loop
        self.observed += 1
        image = np.zeros((32, 48, 3), np.uint8)
        position = sum(float(action[0]) for action in self.actions)
        return Observation({"front": image, "wrist": image}, np.array([position, 0, 0], np.float32))

    def act(self, action: np.ndarray) -> None:
        self.actions.append(action)
        self.times.append(self._clock.time)

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


class Stepper(BasePolicy[PolicyState]):
    """Chunks of eight actions that move by 1; the second dimension tells where the robot was when it was asked.

    calls: positions and options of its calls. Its memory has a line per call, and its state counts executed steps.
    """

    robot_spec = SPEC

    def __init__(self, advised: int | None = 4) -> None:
        self.advised = advised
        self.calls: list[tuple[float, dict[str, Any]]] = []

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        at = float(observation.state[0])
        self.calls.append((at, options))
        actions = np.tile(np.float32([1.0, at / 100]), (8, 1))
        after = replace(state, num_calls=state.num_calls + 1, subtasks=(f"at {at:g}",))
        return ActionChunk(actions, (f"at {at:g}",), replan_steps=self.advised), self.observe(observation, after)

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        return replace(state, env_step=state.env_step + 1)
