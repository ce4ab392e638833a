"""The control loop on a robot, in a time of its own: what is executed when, and what a failure leads to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_time import PERIOD, SPEC, FakeClock, FakeRobot, FakeWorker, Stepper
from toy_robot import robot

from wla.control import AsyncRunner, RunnerConfig, RunReport, RunStep
from wla.control.safety import EmergencyStop
from wla.robots import SafetyLimits


class Run:
    """A run of `steps` control steps, and everything that took part in it."""

    def __init__(
        self,
        steps: int,
        latencies: Any = 0.0,
        *,
        policy: Any = None,
        hangs: dict[int, float] | None = None,
        robot: type[FakeRobot] = FakeRobot,
        operator: Any = None,
        done: Any = lambda: False,
        **config: Any,
    ) -> None:
        self.clock = FakeClock()
        self.robot, self.policy = robot(self.clock, hangs=hangs), policy or Stepper()
        self.worker = FakeWorker(self.clock, latencies)
        self.runner = AsyncRunner(
            self.policy,
            self.robot,
            RunnerConfig(**{"chunking": "async", **config}),
            clock=self.clock,
            worker=self.worker,
            operator=operator,
            listener=self,
        )
        self.steps: list[RunStep] = []
        self.report: RunReport = self.runner.run("go", seconds=steps * PERIOD, done=done)

    def step(self, step: RunStep) -> None:
        self.steps.append(step)

    @property
    def moves(self) -> list[float]:
        """By control step."""
        return [0.0 if step.action is None else float(step.action[0]) for step in self.steps]

    @property
    def sources(self) -> list[int]:
        """Where the robot was when the policy was asked for each executed action."""
        own = [step.action for step in self.steps if not step.timing.stale and not step.taken_over]
        return [round(100 * float(action[1])) for action in own]


def test_the_robot_moves_at_its_rate_while_the_next_chunk_is_computed() -> None:
    run = Run(16, 0.3)
    assert (run.report.ending, run.report.steps, run.report.executed) == ("time", 16, 13)
    assert run.moves == [0] * 3 + [1] * 13
    np.testing.assert_allclose(np.diff(run.robot.times), PERIOD)
    assert run.sources == [0] * 7 + [4] * 4 + [8] * 2, "what was executed meanwhile is left out of each chunk"
    assert run.report.effective_rate_hz == pytest.approx(10)
    assert run.report.latencies_ms == pytest.approx([300] * 3)
    assert run.robot.calls == ["connect", "stop", "close"]
    assert run.worker.closed


def test_a_robot_that_stands_still_while_it_waits_leaves_out_nothing() -> None:
    run = Run(14, 0.3, chunking="sync")
    assert run.sources == [0] * 4 + [4] * 4
    assert run.report.held == 6
    assert run.moves == [*[0] * 3, *[1] * 4, *[0] * 3, *[1] * 4]


@pytest.mark.parametrize(("chunking", "held"), [("async", 3), ("sync", 3 * 5)])
def test_a_policy_that_advises_nothing_is_asked_before_its_chunk_ends(chunking: str, held: int) -> None:
    run = Run(55, 0.3, policy=Stepper(None), chunking=chunking)
    assert run.report.held == held


def test_the_call_that_warms_up_is_no_latency_and_leaves_no_trace() -> None:
    policy = Stepper()
    run = Run(1, [0.0], policy=policy)
    assert len(policy.calls) == 2
    assert run.report.latencies_ms == []
    assert run.runner._feed.state.num_calls == 0, "the answer of the only request has not come yet"


def test_real_time_chunking_continues_what_remains_by_the_longest_latency_of_late() -> None:
    run = Run(24, [0.1, 0.3, 0.1, 0.1, 0.1], chunking="rtc")
    options = [given for _, given in run.policy.calls[1:]]
    assert options[0] == {}
    assert [each["delay"] for each in options[1:]] == [1, 3, 3, 3][: len(options) - 1]
    assert [len(each["prefix"]) for each in options[1:]] == [4] * (len(options) - 1)


def test_an_answer_that_comes_too_late_is_never_executed_and_leaves_the_policy_as_it_was() -> None:
    run = Run(40, [0.1, 2.0, 0.1, 0.1, 0.1, 0.1, 0.1], max_age_s=1.0)
    assert run.report.discarded == 1
    assert 4 not in run.sources, "the chunk that was asked for at 4 came after 2 s"
    assert run.sources[:9] == [0] * 8 + [8], "and another was asked for where the robot had come to"
    state = run.runner._feed.state
    assert state.num_calls == len(run.report.latencies_ms)
    assert "at 4" not in state.subtasks


@pytest.mark.parametrize("latency", [0.0, 0.15, 0.7, 1.3])
@pytest.mark.parametrize("chunking", ["sync", "async", "ensemble", "rtc"])
def test_the_state_counts_every_executed_action_and_no_other(chunking: str, latency: float) -> None:
    run = Run(60, latency, chunking=chunking)
    feed = run.runner._feed
    waiting = 0 if feed._request is None else len(feed._request.executed)
    assert run.report.executed > 10
    assert feed.state.env_step + waiting == run.report.executed
    assert run.report.executed == sum(move == 1 for move in run.moves)


def test_after_a_hang_the_robot_holds_and_what_was_planned_before_is_not_executed() -> None:
    run = Run(60, 0.1, hangs={4: 3.0})
    assert run.report.overruns == 1
    position = round(sum(run.moves[:5]))
    assert run.moves[4] == 0
    assert min(run.sources[position:]) >= position, "chunks of before the hang are void"


def test_steps_that_were_missed_are_not_made_up_for() -> None:
    run = Run(20, 0.0, hangs={3: 0.15, 6: 0.15})
    assert run.report.overruns == 2
    assert np.diff(run.robot.times).min() > PERIOD - 1e-6
    assert run.report.effective_rate_hz < 10


def test_an_action_that_is_out_of_limits_is_limited_and_reported() -> None:
    class Careful(FakeRobot):
        safety_limits = SafetyLimits.of(SPEC.action, velocity=5.0).replace(ramp_s=0.0)

    run = Run(8, 0.0, robot=Careful)
    assert max(map(abs, run.moves)) <= 0.5 + 1e-6
    assert run.report.reasons["velocity"] == run.report.executed


@pytest.mark.parametrize("advised", [2, 4])
def test_an_emergency_stop_ends_the_run_and_holds_until_it_is_released(advised: int) -> None:
    class Fence:
        def __init__(self) -> None:
            self.steps = 0

        def step(self, step: Any) -> None:
            self.steps += 1
            if self.steps == 6:
                run_of["runner"].stop("the fence is open")

    run_of: dict[str, Any] = {}
    clock = FakeClock()
    body = FakeRobot(clock)
    runner = run_of["runner"] = AsyncRunner(
        Stepper(advised), body, RunnerConfig(chunking="async"), clock=clock, worker=FakeWorker(clock), listener=Fence()
    )
    report = runner.run("go", seconds=5.0)
    assert (report.ending, report.error) == ("stopped", "emergency stop: the fence is open")
    assert report.steps == 7
    assert body.calls[-2:] == ["stop", "close"]
    moved = sum(float(action[0]) for action in body.actions)
    assert runner.run("go", seconds=5.0).ending == "stopped"
    assert sum(float(action[0]) for action in body.actions) == moved
    runner.safety.release()
    assert runner.run("go", seconds=1.0).executed > 0


class Raises(Stepper):
    def __init__(self, at: int, error: BaseException) -> None:
        super().__init__()
        self.at, self.error = at, error

    def act(self, observation, state, **options):
        if len(self.calls) == self.at:
            raise self.error
        return super().act(observation, state, **options)


def test_a_policy_that_raises_stops_the_robot_with_one_line() -> None:
    run = Run(30, 0.0, policy=Raises(2, RuntimeError("out of\nmemory")))
    assert (run.report.ending, run.report.error) == ("error", "the policy failed: RuntimeError: out of memory")
    assert run.robot.calls == ["connect", "stop", "close"]
    assert 0 < run.report.steps < 30


def test_a_policy_whose_first_call_raises_never_moves_the_robot() -> None:
    run = Run(30, policy=Raises(0, ValueError("no such camera")))
    assert (run.report.error, run.robot.actions) == ("the policy failed: no such camera", [])
    assert run.robot.calls == ["connect", "stop", "close"]


class Momentum(FakeRobot):
    """It takes several steps to brake."""

    safety_limits = SafetyLimits.of(SPEC.action, acceleration=25.0).replace(ramp_s=0.0)


def test_a_policy_whose_robot_was_stopped_elsewhere_ends_the_run_braking() -> None:
    run = Run(60, policy=Raises(4, EmergencyStop("stopped: by a person")), robot=Momentum)
    assert (run.report.ending, run.report.error) == ("stopped", "emergency stop: stopped: by a person")
    assert run.moves[-4:] == pytest.approx([0.75, 0.5, 0.25, 0.0])
    assert max(-np.diff(run.moves)) == pytest.approx(0.25)


class NotFinite(Stepper):
    def act(self, observation, state, **options):
        chunk, after = super().act(observation, state, **options)
        if len(self.calls) > 2:
            chunk.actions[3, 0] = np.nan
        return chunk, after


def test_a_chunk_that_is_not_finite_stops_the_run() -> None:
    run = Run(30, 0.0, policy=NotFinite())
    assert run.report.error == "the policy failed: the policy's actions are not all finite"
    assert np.isfinite(run.robot.actions).all()


@pytest.mark.parametrize("method", ["connect", "observe", "act"])
def test_a_robot_that_fails_is_stopped_and_closed(method: str) -> None:
    class Broken(FakeRobot):
        def __getattribute__(self, name: str) -> Any:
            if name == method and (name != "act" or len(self.actions) == 3):
                raise OSError("[Errno 5] the bus does not answer")
            return super().__getattribute__(name)

    run = Run(30, robot=Broken)
    assert run.report.ending == "error"
    assert run.report.error.endswith("[Errno 5] the bus does not answer")
    assert run.robot.calls[-2:] == ["stop", "close"]


def test_a_robot_that_cannot_be_stopped_is_closed_and_a_line_warns_of_it() -> None:
    class Runaway(FakeRobot):
        def stop(self) -> None:
            raise OSError("no connection")

    run = Run(3, robot=Runaway)
    assert run.robot.calls == ["connect", "close"]
    assert run.report.ending == "error"
    assert run.report.error == "the robot could not be stopped (no connection); use its own emergency stop"


def test_ctrl_c_stops_and_closes() -> None:
    run = Run(30, policy=Raises(2, KeyboardInterrupt()))
    assert (run.report.ending, run.report.error) == ("interrupted", None)
    assert run.robot.calls == ["connect", "stop", "close"]


def test_a_goal_that_is_reached_ends_the_run() -> None:
    body: list[Run] = []
    count = iter(range(100))
    body.append(Run(30, done=lambda: next(count) == 5))
    assert (body[0].report.ending, body[0].report.steps) == ("done", 6)


def test_a_policy_of_another_robot_is_refused_before_anything_is_connected() -> None:
    policy = Stepper()
    policy.robot_spec = robot("another", limits=(-100.0, 100.0))
    clock = FakeClock()
    body = FakeRobot(clock)
    with pytest.raises(ValueError, match="embodiment is 'another' in the policy and 'toy' in the robot"):
        AsyncRunner(policy, body)
    assert body.calls == []


class Person:
    """Takes the robot over at the control steps of `at`."""

    def __init__(self, at: range) -> None:
        self.at, self.steps = at, -1

    def action(self, observation: Any) -> np.ndarray | None:
        self.steps += 1
        return np.float32([-0.5, 0.0]) if self.steps in self.at else None


@pytest.mark.parametrize("latency", [0.0, 0.3, 0.55])
def test_what_was_planned_is_void_when_a_person_takes_over(latency: float) -> None:
    run = Run(40, latency, operator=Person(range(10, 20)))
    assert run.moves[10:20] == [-0.5] * 10
    assert [step.taken_over for step in run.steps] == [10 <= index < 20 for index in range(40)]
    assert run.report.taken_over == 10
    place = sum(run.moves[:20])
    resumed = [round(100 * float(step.action[1])) for step in run.steps[20:] if not step.timing.stale]
    assert resumed[0] == round(place), "the first action after it comes from a call at the place where the person left"
    feed = run.runner._feed
    waiting = 0 if feed._request is None else len(feed._request.executed)
    assert feed.state.env_step + waiting == run.report.executed + 10


def test_a_person_is_limited_like_a_policy() -> None:
    class Careful(FakeRobot):
        safety_limits = SafetyLimits.of(SPEC.action, velocity=2.0).replace(ramp_s=0.0)

    run = Run(10, robot=Careful, operator=Person(range(10)))
    assert run.moves == pytest.approx([-0.2] * 10)
