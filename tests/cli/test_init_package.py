"""`wla init --env NAME` and `--robot NAME`: a package that works as it is written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from wla.cli.main import main
from wla.data.lerobot.reader import LeRobotDataset
from wla.envs import registry
from wla.presets.recipe import load_recipe
from wla.robots import load_robot
from wla.rollout.results import read_results

MODULES = ("reach_sim", "my_robots")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, in which commands are run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_loaded", {})
    yield tmp_path
    for name in [each for each in sys.modules if each.partition(".")[0] in MODULES]:
        del sys.modules[name]


def test_an_environment_with_its_robot_works_as_it_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert main(["init", "--env", "reach", "--robot", "two_axis_arm", "--out", "reach_sim"]) == 0
    assert "wla eval expert --env reach" in capsys.readouterr().err
    monkeypatch.syspath_prepend(folder / "reach_sim")
    assert main(["list", "environments"]) == 0
    assert "reach " in (printed := capsys.readouterr().out)
    assert "2 tasks, on two_axis_arm" in printed
    assert main(["list", "robots"]) == 0
    assert "two_axis_arm      2 actions, 2 state dimensions, 10 Hz, cameras front" in capsys.readouterr().out
    for policy, outcome in (("expert", "success"), ("zero", "failure")):
        assert main(["eval", policy, "--env", "reach", "--episodes", "2", "--out", policy]) == 0
        assert {result.outcome for result in read_results(folder / policy / "results.jsonl")} == {outcome}
    assert main(["collect", "--env", "reach", "--episodes", "2", "--out", "data"]) == 0
    assert LeRobotDataset("data").require_robot() == load_robot("two_axis_arm")
    assert "wla init data --out data.py" in capsys.readouterr().err


def test_a_robot_alone_is_that_of_recordings_without_a_robot_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert main(["init", "--env", "reach", "--robot", "two_axis_arm", "--out", "reach_sim"]) == 0
    assert main(["init", "--robot", "my-arm", "--out", "my_robots"]) == 0
    assert sorted(each.name for each in (folder / "my_robots/my_robots").iterdir()) == ["__init__.py", "robot.py"]
    monkeypatch.syspath_prepend(folder / "my_robots")
    monkeypatch.syspath_prepend(folder / "reach_sim")
    assert main(["collect", "--env", "reach", "--episodes", "2", "--out", "data"]) == 0
    (folder / "data/meta/wla_robot.json").unlink()
    assert main(["init", "data", "--robot", "my-arm", "--out", "mine.py"]) == 0
    assert not (folder / "mine_robot.json").exists()
    assert load_recipe("mine.py").datasets[0].open().require_robot() == load_robot("my-arm")
    capsys.readouterr()
    for name, message in (("my-ar", "did you mean 'my-arm'?"), ("libero_panda", "fps is 10 and")):
        assert main(["init", "data", "--robot", name, "--out", "other.py"]) == 2
        assert message in (error := capsys.readouterr().err)
        assert error.count("\n") == 1


def test_what_pip_reads_and_what_is_found_at_once_agree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tomllib

    assert main(["init", "--env", "reach", "--out", "reach-sim"]) == 0
    project = tomllib.loads((folder / "reach-sim/pyproject.toml").read_text())["project"]
    monkeypatch.syspath_prepend(folder / "reach-sim")
    for group, points in project["entry-points"].items():
        found = {point.name: point.value for point in entry_points(group=group)}
        assert points.items() <= found.items()
    assert load_robot("reach_robot").embodiment == "reach_robot"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "tabletop", "--out", "new"], "the environment 'tabletop' exists already"),
        (["--robot", "libero_panda", "--out", "new"], "the robot 'libero_panda' exists already"),
        (["--robot", "a robot", "--out", "new"], "'a robot' cannot be the name of a new robot"),
        (["--env", "reach", "--out", "json"], "the Python module 'json' exists already"),
        (["--env", "reach", "--out", "1st"], "'1st' cannot be imported"),
        (["--env", "reach", "--out", "new.py"], "a new package is a folder"),
        (["--env", "reach", "--out", "there"], "there is there already; remove it"),
        (["--env", "Unknown-v0", "--out", "new"], "a mapping file ends in .toml"),
        (["--env", "Unknown-v0", "--robot", "arm", "--out", "new.toml"], "a mapping states its robot itself"),
        (["--out", "new"], "name one thing to begin with"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture, words: list[str], message: str
) -> None:
    (folder / "there").mkdir()
    assert main(["init", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [each.name for each in folder.iterdir()] == ["there"]
