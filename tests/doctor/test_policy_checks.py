"""`wla doctor env --policy`: the bundled policies fit the tabletop; checkpoints with other statistics are found out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wla.cli.main import main
from wla.data.normalize import Normalizer, VectorStatistics
from wla.doctor.policy_checks import CheckedPolicy, check_range
from wla.doctor.trajectories import Trajectory, run_policy
from wla.envs.registry import make_env, make_expert
from wla.policy.hub import bundled
from wla.specs import RobotSpec

TASKS = ("place", "stack", "push", "press", "drawer")
Change = Callable[[dict[str, Any]], None]
# Of 100 episodes of the disturbed expert in each of these tasks, seeds 0 .. 99.
Q01 = [-0.1701, -0.1245, 0.02, -0.5455, 0.0]
Q99 = [0.1717, 0.122, 0.1762, 0.5291, 0.0801]


@pytest.fixture(scope="module")
def shown() -> tuple[RobotSpec, list[Trajectory]]:
    """Three episodes of the expert in each task."""
    episodes = []
    for task in TASKS:
        with closing(make_env("tabletop", task=task, image_size=16)) as env:
            expert = make_expert("tabletop", env)
            episodes += [run_policy(env, expert, seed) for seed in range(10_000, 10_003)]
    with closing(make_env("tabletop", task="place")) as env:
        return env.robot_spec, episodes


def exchanged(one: int, other: int) -> Change:
    """Statistics of states in which two numbers stand in the other order."""

    def change(tree: dict[str, Any]) -> None:
        for values in (each for each in tree["state"].values() if isinstance(each, list)):
            values[one], values[other] = values[other], values[one]

    return change


def scaled(which: str, factor: float, *dimensions: int) -> Change:
    """Statistics in another unit."""

    def change(tree: dict[str, Any]) -> None:
        for values in (each for each in tree[which].values() if isinstance(each, list)):
            for dimension in dimensions:
                values[dimension] *= factor

    return change


def quantiles(tree: dict[str, Any]) -> None:
    """Quantiles that are taken for minima and maxima."""
    tree["state"] |= {"min": Q01, "max": Q99}


def constant(tree: dict[str, Any]) -> None:
    """Statistics of data in which the yaw did not change."""
    tree["state"]["min"][3] = tree["state"]["max"][3] = 0.0


BROKEN = [
    (exchanged(2, 3), "state", "z fits the range of yaw, yaw fits the range of z (order)"),
    (exchanged(3, 4), "state", "yaw fits the range of gripper_width, gripper_width fits the range of yaw (order)"),
    (quantiles, "state", "goes beyond the minima and maxima of the checkpoint: "),
    (scaled("state", 0.1, 3), "state", "yaw has -0.592 .. "),
    (
        scaled("action", 0.1, 0, 1, 2),
        "action",
        "dx has -0.0298 .. 0.03 here and -0.003 .. 0.003 in the checkpoint's MIN_MAX",
    ),
    (scaled("state", 1000, 0, 1, 2, 3, 4), "state", "and 2 more (another entry or unit)"),
    (constant, "state", "here and 0 .. 0 in the checkpoint's MIN_MAX (another entry or unit)"),
]


def broken(change: Change, folder: Path, source: str = "nano-tabletop") -> Path:
    folder.mkdir()
    for name in ("config.json", "robot.json", "statistics.json"):
        shutil.copy(bundled()[source] / name, folder)
    path = folder / "statistics.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    return folder


@pytest.mark.parametrize("name", ["nano-tabletop", "nano-memory"])
def test_bundled_policies_fit_their_environment(shown: tuple[RobotSpec, list[Trajectory]], name: str) -> None:
    findings = CheckedPolicy.load(name).check(*shown)
    assert [(each.name, each.ok) for each in findings] == [("state", True), ("action", True)], findings


@pytest.mark.parametrize(("change", "what", "words"), BROKEN, ids=[words for _, _, words in BROKEN])
def test_other_statistics_are_named_in_one_line(
    shown: tuple[RobotSpec, list[Trajectory]], tmp_path: Path, change: Change, what: str, words: str
) -> None:
    findings = CheckedPolicy.load(str(broken(change, tmp_path / "broken"))).check(*shown)
    wrong = {each.name: each for each in findings if each.ok is False}
    assert wrong.keys() == {what}, findings
    assert words in wrong[what].found
    assert wrong[what].fix


@pytest.mark.parametrize("mode", ["MIN_MAX", "QUANTILES", "QUANTILE10", "MEAN_STD"])
def test_right_statistics_pass_in_each_mode_and_an_exchange_does_not(mode: Any) -> None:
    rng = np.random.default_rng(0)
    spread, shift = np.float32([0.1, 1.0, 30.0]), np.float32([0.0, 2.0, -50.0])
    training, here = (rng.normal(size=(rows, 3)).astype(np.float32) * spread + shift for rows in (20_000, 300))
    names = ["a", "b", "c"]
    normalizer = Normalizer(VectorStatistics.of([training]), mode, name="state", dimensions=names)
    assert check_range("state", here, normalizer, mode, names).ok
    turned = check_range("state", here[:, [1, 2, 0]], normalizer, mode, names)
    assert turned.ok is False
    assert turned.found == "a fits the range of b, b fits the range of c, c fits the range of a (order)"


def test_what_other_tasks_may_explain_is_shown_and_not_wrong(shown: tuple[RobotSpec, list[Trajectory]]) -> None:
    spec, episodes = shown
    rows = np.concatenate([each.states for each in episodes])
    normalizer = Normalizer(
        CheckedPolicy.load("nano-tabletop").robots[0].statistics.state,
        name="state",
        dimensions=spec.observation.state_names,
    )
    rows[0, 3] = 1.5
    found = check_range("state", rows, normalizer, "MIN_MAX", spec.observation.state_names)
    assert found.ok is None
    assert found.found.startswith("yaw has -0.592 .. "), found


def test_unnormalised_numbers_are_not_compared() -> None:
    rows = np.zeros((3, 1), np.float32)
    normalizer = Normalizer(VectorStatistics.of([rows]), "IDENTITY", name="state", dimensions=["x"])
    assert check_range("state", rows, normalizer, "IDENTITY", ["x"]).ok is None


def test_another_robot_and_absent_episodes_are_one_line(shown: tuple[RobotSpec, list[Trajectory]]) -> None:
    spec, _ = shown
    policy = CheckedPolicy.load("nano-tabletop")
    assert "no expert" in policy.check(spec, [])[0].found
    turned = spec.observation.replace(state_names=("x", "z", "y", "yaw", "gripper_width"))
    (found,) = policy.check(spec.replace(observation=turned), [])
    assert found.ok is False
    assert "observation.state_names" in found.found


def test_the_command_names_what_is_wrong_and_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["doctor", "env", "tabletop", "--tasks", "place", "--episodes", "1", "--policy"]
    assert main([*words, "nano-tabletop"]) == 0
    assert "nano-tabletop\n  ok    state " in capsys.readouterr().out
    assert main([*words, str(broken(exchanged(2, 3), tmp_path / "broken"))]) == 1
    assert "z fits the range of yaw" in capsys.readouterr().out
    assert main([*words, "nano-tabltop"]) == 2
    assert "did you mean 'nano-tabletop'?" in capsys.readouterr().err
