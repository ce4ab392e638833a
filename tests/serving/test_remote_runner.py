"""A served policy on a robot: its state, kept by the server, is that of the same policy here."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any

import numpy as np
import pytest
from fake_time import FakeClock, FakeRobot, FakeWorker
from served import Teller, served

from wla.control import AsyncRunner, RunnerConfig, RunReport, RunStep
from wla.robots import SafetyLimits
from wla.serving import RemotePolicy

SPEC = Teller().robot_spec


class Body(FakeRobot):
    robot_spec = SPEC
    safety_limits = SafetyLimits.of(SPEC.action)


class Person:
    def __init__(self, *at: range) -> None:
        self.at, self.steps = at, -1

    def action(self, observation: Any) -> np.ndarray | None:
        self.steps += 1
        return np.float32([0.1, 0.0]) if any(self.steps in each for each in self.at) else None


class Log:
    def __init__(self) -> None:
        self.subtasks: list[tuple[str, ...]] = []

    def step(self, step: RunStep) -> None:
        self.subtasks.append(() if step.chunk is None else step.chunk.subtasks)


def drive(policy: Any, *at: range) -> tuple[Log, RunReport]:
    """A run with answers that come too late, and a person who takes over."""
    clock, log = FakeClock(), Log()
    worker = FakeWorker(clock, chain([0.2, 2.0, 0.3, 0.1, 1.7], repeat(0.2)))
    config = RunnerConfig(max_age_s=1.0, chunking="async")
    runner = AsyncRunner(policy, Body(clock), config, operator=Person(*at), listener=log, clock=clock, worker=worker)
    return log, runner.run("go", seconds=12.0, seed=3)


@pytest.mark.parametrize("at", [(), (range(3),), (range(50, 80), range(90, 92))], ids=["alone", "begun", "corrected"])
def test_memory_follows_what_was_executed_here_and_there(at: tuple[range, ...]) -> None:
    policy = Teller()
    here, report = drive(policy, *at)
    with served(policy) as address:
        remote = RemotePolicy(address)
        there, of_remote = drive(remote, *at)
        remote.close()
    assert (report.error, of_remote.error) == (None, None)
    assert there.subtasks == here.subtasks
    assert report.discarded >= 2
    assert len(set(here.subtasks)) > 10
