"""An environment as a robot: driven by the runner until its task is decided."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from fake_time import FakeClock, FakeWorker
from fakes import LineEnv, Walker

from wla.control import AsyncRunner, SimulatedRobot
from wla.control.real_time import MonotonicClock, ThreadWorker
from wla.robots import Robot, SafetyLimits


@pytest.mark.parametrize(("seed", "outcome"), [(0, "success"), (1, "failure")])
def test_an_environment_is_driven_until_its_task_is_decided(seed: int, outcome: str) -> None:
    env = LineEnv()
    body = SimulatedRobot(env, seed=seed, limits=SafetyLimits.of(env.robot_spec.action).replace(ramp_s=0.0))
    assert isinstance(body, Robot)
    clock = FakeClock()
    runner = AsyncRunner(Walker(), body, clock=clock, worker=FakeWorker(clock))
    report = runner.run("walk", seconds=60.0, seed=seed, done=lambda: body.outcome is not None)
    assert (report.ending, body.outcome, body.instruction) == ("done", outcome, "walk to the goal")
    assert env.closed


def test_a_simulation_that_crashes_ends_the_run() -> None:
    body = SimulatedRobot(LineEnv(), seed=7)
    clock = FakeClock()
    report = AsyncRunner(Walker(), body, clock=clock, worker=FakeWorker(clock)).run("walk", seconds=60.0, seed=7)
    assert report.error == "the robot failed: ZeroDivisionError: the simulation exploded"


def test_nothing_is_seen_before_it_is_connected() -> None:
    with pytest.raises(ValueError, match="not connected"):
        SimulatedRobot(LineEnv()).observe()


def test_calls_run_in_one_thread_in_their_order_and_hand_over_what_they_raise() -> None:
    worker = ThreadWorker()
    first, second = worker.submit(threading.get_ident), worker.submit(threading.get_ident)
    assert first.result(10) == second.result(10) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 // 0).result(10)
    worker.close()


def test_the_clock_of_the_machine_waits_and_does_not_wait_for_the_past() -> None:
    clock = MonotonicClock()
    begun = clock.now()
    clock.sleep_until(begun + 0.01)
    assert clock.now() >= begun + 0.01
    clock.sleep_until(begun)
    assert np.isfinite(clock.now())
