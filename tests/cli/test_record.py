"""`wla record`: episodes on the disk one by one, corrected where a person took over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import LineEnv, Walker

from wla.cli import main as cli
from wla.cli.record import RecordArgs
from wla.control import SimulatedRobot
from wla.control.operators import Lines
from wla.data.lerobot.reader import LeRobotDataset
from wla.robots import SafetyLimits

Record = Callable[..., tuple[int, str, str]]


class Expert(Walker):
    """What a person would do: half of the pace."""

    def act(self, observation, state, imagine=False):
        chunk, after = super().act(observation, state)
        chunk.actions[:, 0] = 0.125
        return chunk, after


class Typed(Lines):
    """A terminal on which a line is typed before the control steps of `at`."""

    def __init__(self, at: tuple[int, ...]) -> None:
        self.at, self.steps = at, -1

    def poll(self) -> str | None:
        self.steps += 1
        # It is asked again after a line, for the next one.
        return "" if self.steps in self.at else None


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Record:
    """Records the walker in its line world into `out`, at a rate that costs no time."""
    rate = LineEnv().robot_spec.action.replace(rate_hz=200.0)

    def call(*words: str, policy: Any = None, typed: tuple[int, ...] = ()) -> tuple[int, str, str]:
        spec = LineEnv().robot_spec.replace(action=rate)

        def opened(args: RecordArgs, _: Any) -> SimulatedRobot:
            limits = SafetyLimits.of(spec.action).replace(ramp_s=0.0)
            return SimulatedRobot(LineEnv(spec), seed=args.seed, limits=limits)

        monkeypatch.setattr("wla.cli.record.load", lambda _: policy or Walker(robot_spec=spec))
        monkeypatch.setattr("wla.cli.record.open_named", opened)
        monkeypatch.setattr("wla.control.operators.Lines", lambda: Typed(typed))
        monkeypatch.setattr("wla.control.operators.make_expert", lambda *_: Expert(robot_spec=spec))
        out = ["--out", str(tmp_path / "out")]
        code = cli.main(["record", "nano-tabletop", "--robot", "tabletop:place", *out, *words])
        return code, *capsys.readouterr()

    return call


def test_episodes_are_recorded_and_the_same_command_records_more(record: Record, tmp_path: Path) -> None:
    code, out, err = record("--episodes", "2")
    assert code == 0
    assert f"{tmp_path / 'out'}: 2 episodes, 2 of them new" in out
    assert f"wla data check {tmp_path / 'out'}" in err
    assert "1 of them new" in record()[1]
    dataset = LeRobotDataset(tmp_path / "out")
    assert [(each.seed, each.success) for each in dataset.episodes] == [(0, True), (1, False), (2, True)]
    assert not dataset.interventions.any()
    shards = sorted(each.name for each in (tmp_path / "out/data/chunk-000").iterdir())
    assert len(shards) == 3, "each episode was on the disk when it had ended"


def test_where_a_person_took_over_is_marked(record: Record, tmp_path: Path) -> None:
    code, out, _ = record("--operator", "expert", typed=(3, 7))
    assert code == 0
    assert "you drive; Enter gives the robot back\nthe policy drives\n" in out
    dataset = LeRobotDataset(tmp_path / "out")
    assert 0 < dataset.interventions.sum() < len(dataset)
    np.testing.assert_array_equal(dataset.actions[dataset.interventions, 0], np.float32(0.125))
    assert (dataset.actions[~dataset.interventions, 0] == np.float32(0.25)).all()


class Fails(Walker):
    """In the second episode, whose walker stands still."""

    def act(self, observation, state, imagine=False):
        if state.seed == 1:
            raise RuntimeError("out of memory")
        return super().act(observation, state)


def test_an_episode_that_ends_in_an_error_is_dropped_and_those_before_are_there(record: Record, tmp_path: Path) -> None:
    spec = LineEnv().robot_spec
    policy = Fails(robot_spec=spec.replace(action=spec.action.replace(rate_hz=200.0)))
    code, out, _ = record("--episodes", "3", policy=policy)
    assert code == 1
    assert "the policy failed: RuntimeError: out of memory" in out
    assert f"{tmp_path / 'out'}: 1 episodes, 1 of them new" in out
    assert [each.seed for each in LeRobotDataset(tmp_path / "out").episodes] == [0]


def test_an_episode_that_does_not_fit_into_memory_is_refused(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**7))
    code, _, err = record("--seconds", "60")
    assert code == 2
    assert "has 0.0 GB of images, and 0.0 GB of memory are free; record shorter ones" in err
    assert record("--seconds", "2")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dry-run"], "takes neither --dry-run nor --rate"),
        (["--rate", "5"], "takes neither --dry-run nor --rate"),
        (["--operator", "leader"], "--operator leader: use expert for a simulated robot"),
        (["--operator", "lerobot:so101_leader"], "use expert for a simulated robot, lerobot:NAME for one of LeRobot"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, record: Record) -> None:
    code, _, err = record(*words)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
