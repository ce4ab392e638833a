"""Runs on a robot become episodes: what was really executed, and by whom."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_time import SPEC, FakeClock, FakeRobot, FakeWorker, Stepper
from full_disk import full_disk

from wla.control import AsyncRunner, RunnerConfig, RunReport
from wla.control.operators import Lines, SwitchedOperator
from wla.control.run_recorder import RunRecorder
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.robots import SafetyLimits


class Careful(FakeRobot):
    safety_limits = SafetyLimits.of(SPEC.action, velocity=5.0).replace(ramp_s=0.0)


class Person:
    def __init__(self, at: range) -> None:
        self.at, self.steps = at, -1

    def action(self, observation: Any) -> np.ndarray | None:
        self.steps += 1
        return np.float32([-0.5, 0.0]) if self.steps in self.at else None


def drive(recorder: RunRecorder, *, at: range = range(0), seconds: float = 2.0) -> tuple[FakeRobot, RunReport]:
    clock = FakeClock()
    body = Careful(clock)
    runner = AsyncRunner(
        Stepper(),
        body,
        RunnerConfig(chunking="async"),
        clock=clock,
        worker=FakeWorker(clock, 0.3),
        operator=Person(at),
        listener=recorder,
    )
    return body, runner.run("go", seconds=seconds)


def test_frames_hold_what_was_executed_and_who_did_it(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "runs", SPEC, with_interventions=True, shard_frames=1) as writer:
        recorder = RunRecorder(writer)
        body, report = drive(recorder, at=range(10, 14))
        assert recorder.end("go", keep=True, seed=7, success=False)
        assert LeRobotDataset(tmp_path / "runs").episodes[0].seed == 7, "it is on the disk before the next one begins"
    dataset = LeRobotDataset(tmp_path / "runs")
    assert report.held == len(body.actions) - len(dataset) + (20 - len(body.actions)) > 0, "holding is not imitated"
    assert set(dataset.actions[:, 0].tolist()) == {0.5, -0.5}, "after the limits, not before"
    assert dataset.interventions.tolist() == (dataset.actions[:, 0] < 0).tolist()
    assert dataset.interventions.sum() == 4
    assert (dataset.episodes[0].success, dataset.episodes[0].instruction) == (False, "go")
    assert "at 0" in dataset.subtask_texts
    assert (dataset.subtasks[dataset.interventions] == -1).all(), "nobody knows what the person was at"


def test_an_episode_that_is_discarded_or_empty_leaves_nothing(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "runs", SPEC, with_interventions=True, shard_frames=1) as writer:
        recorder = RunRecorder(writer)
        drive(recorder)
        assert not recorder.end("go", keep=False)
        assert not recorder.end("go", keep=True)
        drive(recorder)
        assert recorder.end("go", keep=True)
        assert writer.total_episodes == 1
    assert len(LeRobotDataset(tmp_path / "runs").episodes) == 1


def test_a_full_disk_is_one_line_and_the_episodes_so_far_are_there(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    with DatasetWriter(root, SPEC, with_interventions=True, shard_frames=1) as writer:
        recorder = RunRecorder(writer)
        drive(recorder)
        recorder.end("go", keep=True)
        drive(recorder)
        with (
            full_disk(1000),
            pytest.raises(ValueError, match="keeps its 1 published episodes, free disk space") as error,
        ):
            recorder.end("go", keep=True)
        assert "\n" not in str(error.value)
        assert len(LeRobotDataset(root).episodes) == 1
    assert len(LeRobotDataset(root).episodes) == 2, "there was space again when the dataset was closed"


def test_every_line_hands_the_robot_over_or_back() -> None:
    printed: list[str] = []
    lines = Lines(io.StringIO(""))
    lines.wait()
    person = SwitchedOperator(lambda _: np.float32([0.5, 0.0]), lines, printed.append)
    seen = FakeRobot(FakeClock()).observe()
    assert person.action(seen) is None
    for drives in (True, False, True):
        lines._lines.put("")
        assert (person.action(seen) is not None) == drives
    assert printed == [
        "you drive; Enter gives the robot back",
        "the policy drives",
        "you drive; Enter gives the robot back",
    ]


def test_typed_lines_are_read_beside_the_loop() -> None:
    lines = Lines(io.StringIO("y \nn\n"))
    assert [lines.wait(), lines.wait(), lines.wait()] == ["y", "n", None]
    assert lines.poll() is None
