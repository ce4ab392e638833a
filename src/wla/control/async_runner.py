"""A policy on a robot in real time: a control loop at a fixed rate, while the next chunk is computed beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32

from wla.control.chunk_feed import ChunkFeed
from wla.control.real_time import Clock, MonotonicClock, ThreadWorker, Worker
from wla.control.run_report import RunReport
from wla.control.runner_config import RunnerConfig
from wla.control.safety import EmergencyStop, Intervention, SafetyLayer
from wla.control.timing_metrics import TimingMetrics
from wla.foreign import one_line
from wla.robots.base import Robot
from wla.signals import defer_signals
from wla.types import ActionChunk, Observation, Policy, StepTiming


@dataclass(frozen=True)
class RunStep:
    """A control step. action: that was sent to the robot; None where nothing was. chunk: the present one."""

    observation: Observation
    action: Float32[np.ndarray, " A"] | None
    chunk: ActionChunk | None
    timing: StepTiming
    interventions: tuple[Intervention, ...]
    taken_over: bool


class RunListener(Protocol):
    """Sees every control step: a recorder, a viewer. What it raises ends the run."""

    def step(self, step: RunStep) -> None: ...


class Operator(Protocol):
    """A person who can take the robot over."""

    def action(self, observation: Observation) -> Float32[np.ndarray, " A"] | None:
        """The action of the person; None while the policy shall act."""
        ...


class AsyncRunner:
    """Drives a robot with a policy. Every action, a person's too, passes through the safety layer."""

    def __init__(
        self,
        policy: Policy[Any],
        robot: Robot,
        config: RunnerConfig | None = None,
        *,
        operator: Operator | None = None,
        listener: RunListener | None = None,
        clock: Clock | None = None,
        worker: Worker | None = None,
    ) -> None:
        """clock, worker: of this machine, when left out. ValueError for a policy of another robot, and for limits that
        do not fit the robot."""
        spec, config = robot.robot_spec, config or RunnerConfig()
        policy.robot_spec.require_equal(spec, ours="the policy", theirs="the robot")
        self._policy, self._robot, self._config = policy, robot, config
        rate = config.rate or spec.action.rate_hz
        self._spec = spec.replace(action=spec.action.replace(rate_hz=rate))
        self._period, self._late_s = 1 / rate, max(robot.safety_limits.hold_after_s, 1 / rate)
        self.safety = SafetyLayer(self._spec, robot.safety_limits)
        self._operator, self._listener = operator, listener
        self._clock, self._worker = clock or MonotonicClock(), worker

    def run(
        self, instruction: str, *, seconds: float, seed: int = 0, done: Callable[[], bool] = lambda: False
    ) -> RunReport:
        """Connects the robot, drives it, stops it and lets it go, whatever happens.

        seconds: of motion. seed: of the policy's noise. done: whether the goal is reached, asked after every step.
        Neither a failing robot or policy nor Ctrl-C raises anything: see `RunReport.ending`.
        """
        self._report = report = RunReport(1 / self._period)
        worker = self._worker or ThreadWorker()
        try:
            self._begin(instruction, seed, worker)
            self._loop(seconds, done)
        except _Failure as failure:
            report.fail(str(failure))
        except KeyboardInterrupt:
            report.ending = "interrupted"
        finally:
            self._end()
            worker.close()
        return report

    def stop(self, reason: str) -> None:
        """Emergency stop, from any thread: the robot brakes within its limits and the run ends. No other one moves the
        robot until `safety.release`."""
        self.safety.stop(reason)

    def _begin(self, instruction: str, seed: int, worker: Worker) -> None:
        self.safety.reset()
        self._timing = TimingMetrics(self._spec.action)
        with _failures("the robot cannot be connected"):
            self._robot.connect()
        with _failures("the robot failed"):
            seen = self._robot.observe()
        with _failures("the policy failed"):
            self._feed = ChunkFeed(self._policy, self._spec, self._config, worker, instruction, seed)
            self._feed.warm_up(seen)

    def _loop(self, seconds: float, done: Callable[[], bool]) -> None:
        report = self._report
        begun = due = self._sent = self._clock.now()
        try:
            while due - begun < seconds - self._period / 2:
                self._clock.sleep_until(due)
                self._step()
                report.steps += 1
                if self.safety.stopped is not None and self.safety.still:
                    report.ending, report.error = "stopped", f"emergency stop: {self.safety.stopped}"
                    return
                if done():
                    report.ending = "done"
                    return
                due += self._period
                if self._clock.now() > due:
                    # Missed steps are not made up for: the robot would get two actions at once.
                    report.overruns += 1
                    due = max(self._clock.now(), self._sent + self._period)
            self._clock.sleep_until(due)  # the last action has its time, too
        finally:
            report.seconds = self._clock.now() - begun
            report.latencies_ms = [1000 * seconds for seconds in self._feed.latencies]
            report.discarded, report.timing = self._feed.discarded, self._timing.score()

    def _step(self) -> None:
        with _failures("the robot failed"):
            seen = self._robot.observe()
        with _failures("the operator's device failed"):
            human = None if self._operator is None else self._operator.action(seen)
        late = max(0.0, self._clock.now() - self._sent - self._period)
        if late > self._late_s:
            self._feed.abandon()  # after such a pause nobody knows whether the plan still fits
        with _failures("the policy failed"):
            try:
                self._feed.update(seen, self._clock.now(), asks=human is None and self.safety.stopped is None)
            except EmergencyStop as stop:
                self.stop(str(stop))
        wanted = self._feed.next_action() if human is None else human
        action, notes = self.safety.step(wanted, seen.state, age_s=late)
        self._sent = self._clock.now()
        if action is not None:
            with _failures("the robot failed"):
                self._robot.act(action)
        refused = wanted is None or action is None or any(not note.dimension for note in notes)
        with _failures("the policy failed"):
            timing = self._count(seen, refused=refused, human=human is not None)
        if action is not None:
            self._timing.add(action, timing)
        self._report.interventions += notes
        if self._listener is not None:
            with _failures("the recording failed"):
                step = RunStep(seen, action, self._feed.present, timing, notes, taken_over=human is not None)
                self._listener.step(step)

    def _count(self, seen: Observation, *, refused: bool, human: bool) -> StepTiming:
        """Tells the policy what was executed."""
        if human:
            self._feed.abandon()  # what was planned, and what is on its way, was meant for another place
        if refused:
            return StepTiming(stale=True, border=False)
        if human:
            self._report.taken_over += 1
            return self._feed.taken_over(seen)
        self._report.executed += 1
        return self._feed.executed(seen)

    def _end(self) -> None:
        """Stops the robot and lets it go; a second Ctrl-C does not interrupt that."""
        with defer_signals():
            for what, call in (("stopped", self._robot.stop), ("closed", self._robot.close)):
                try:
                    call()
                except Exception as error:  # noqa: BLE001 - whatever a driver raises, the other call has to follow
                    self._report.fail(f"the robot could not be {what} ({_line(error)}); use its own emergency stop")


class _Failure(Exception):
    """Robot or policy raised an exception: one line about it."""


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Turns whatever is raised inside into a `_Failure` that begins with `what`."""
    try:
        yield
    except Exception as error:
        raise _Failure(f"{what}: {_line(error)}") from error


def _line(error: Exception) -> str:
    kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
    return f"{kind}{one_line(error) or type(error).__name__}"
