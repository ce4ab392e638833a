"""`wla doctor env`: mistakes of adapters that have cost others most of their score, each named in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from arm_world import (
    ArmEnv,
    ArmExpert,
    GripperTurned,
    NeverSuccessful,
    SlowActions,
    WithoutSuccess,
    family,
    seeded,
    seen,
    stated,
)

from wla.cli.main import main
from wla.data.lerobot.reader import LeRobotDataset
from wla.doctor import trajectories
from wla.doctor.examine import examine
from wla.doctor.trajectories import recorded, replay, run_policy
from wla.envs import registry
from wla.envs.perturb import PerturbedActions
from wla.rollout.collect import collect
from wla.rollout.configs import CollectConfig


def swapped(state: np.ndarray) -> np.ndarray:
    return state[[1, 0, *range(2, 8)]]


def scaled(state: np.ndarray) -> np.ndarray:
    return state * np.float32([1, 1, 1000, 1, 1, 1, 1, 1])


def raised(state: np.ndarray) -> np.ndarray:
    return state + np.float32([0, 0, 0.3, 0, 0, 0, 0, 0])


def other_source(state: np.ndarray) -> np.ndarray:
    return np.concatenate([state[:2] ** 3 + 0.2, state[2:]])


def antipode(state: np.ndarray) -> np.ndarray:
    return state * np.float32([1, 1, 1, -1, -1, -1, -1, 1])


TRAPS = [
    (seen(lambda image: image[::-1, ::-1]), "frames", "camera front is turned by 180 degrees"),
    (seen(lambda image: image[::-1]), "frames", "camera front is upside down"),
    (seen(lambda image: image[:, ::-1]), "frames", "camera front is mirrored"),
    (seen(lambda image: image[..., ::-1]), "frames", "camera front is with red and blue swapped"),
    (seen(lambda image: image[::2, ::2]), "spec", "camera front gives uint8 (16, 24, 3), and the robot's spec says"),
    (stated(swapped), "state", "the recorded x stands where y belongs (order)"),
    (stated(scaled), "state", "z was recorded 0.001 times as large (another unit)"),
    (stated(raised), "state", "z was recorded -0.3 higher (another origin or source)"),
    (stated(other_source), "state", "from the recorded one (another source)"),
    (stated(lambda state: state[:7]), "spec", "the state has 7 numbers, and the robot's spec names 8"),
    (stated(antipode), "rotation", "is the recorded rotation in its other representation (antipode) in 100 %"),
    (seeded(lambda seed: 0), "seeds", "seeds 0, 1, 2 all start alike"),
    (seeded(lambda seed: None), "seeds", "seed 0 starts differently the second time"),
    (seeded(lambda seed: (seed or 0) + 1), "seeds", "the start is not the recorded one"),
    (GripperTurned, "gripper", "the command that was recorded to open it closes it"),
    (
        SlowActions,
        "actions",
        "the starts are as recorded; after 20 steps of the same actions the state is elsewhere",
    ),
    (NeverSuccessful, "success", "0 of 3 recorded successes succeed"),
    (WithoutSuccess, "run", "the environment fails: KeyError: 'success'"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of the expert, disturbed now and then, as `wla collect` records them."""
    out = tmp_path_factory.mktemp("recorded") / "arm"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry._loaded, "arm", family(ArmEnv))
        collect(CollectConfig(env="arm", episodes=3), out)
    return out


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch):
    def use(kind: type[ArmEnv], *, expert: bool = True) -> None:
        monkeypatch.setitem(registry._loaded, "arm", family(kind, expert=expert))

    return use


def lines(printed: str, mark: str) -> dict[str, str]:
    """Name of the check -> line, of the lines with a mark."""
    return {line.split()[1]: line for line in printed.splitlines() if line.split()[:1] == [mark]}


def test_a_right_adapter_has_nothing_wrong(adapter, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter(ArmEnv)
    assert main(["doctor", "env", "arm", "--dataset", str(dataset)]) == 0
    printed = capsys.readouterr().out
    checks = {"statistics", "frames", "seeds", "state", "rotation", "motion", "gripper", "success"}
    assert lines(printed, "ok").keys() == checks, printed


@pytest.mark.parametrize(("kind", "check", "words"), TRAPS, ids=[f"{check}: {words}" for _, check, words in TRAPS])
def test_each_mistake_is_named_in_one_line(
    adapter, dataset: Path, capsys: pytest.CaptureFixture[str], kind: type[ArmEnv], check: str, words: str
) -> None:
    adapter(kind)
    assert main(["doctor", "env", "arm", "--dataset", str(dataset)]) == 1
    wrong = lines(capsys.readouterr().out, "WRONG")
    assert words in wrong[check]
    # Nothing else is blamed for it, but what names the same mistake by what moves, or could not succeed with it.
    assert wrong.keys() - {check} <= {"state": {"motion"}, "actions": {"success"}}.get(check, set())


@pytest.mark.parametrize(
    ("kind", "check", "words"),
    [
        (stated(swapped), "motion", "dx moves y (order of the state or of the action)"),
        (stated(lambda state: -state), "motion", "dx moves x the other way (sign)"),
        (GripperTurned, "gripper", "the command to open leaves opening smaller"),
        (seeded(lambda seed: 0), "seeds", "all start alike"),
        (NeverSuccessful, "success", "0 of 3 episodes of the expert succeed"),
    ],
)
def test_an_expert_shows_some_without_recordings(
    adapter, capsys: pytest.CaptureFixture[str], kind: type[ArmEnv], check: str, words: str
) -> None:
    adapter(kind)
    assert main(["doctor", "env", "arm"]) == 1
    printed = capsys.readouterr().out
    assert words in lines(printed, "WRONG")[check]
    assert "not checked: give recorded episodes" in lines(printed, "-")["frames"]


def test_a_right_adapter_without_expert_or_recordings(adapter, capsys: pytest.CaptureFixture[str]) -> None:
    adapter(ArmEnv, expert=False)
    assert main(["doctor", "env", "arm"]) == 0
    printed = capsys.readouterr().out
    assert lines(printed, "ok").keys() == {"seeds", "motion", "gripper"}
    assert lines(printed, "-").keys() == {"frames", "state", "rotation", "success"}


def test_each_episode_is_replayed_as_disturbed_as_it_was_recorded() -> None:
    """Of a few episodes the first may have met no disturbance, and others did."""
    env = ArmEnv()
    disturbed = PerturbedActions(env, probability=1.0)
    recordings = [run_policy(each, ArmExpert(env), seed) for seed, each in enumerate((env, disturbed, env, disturbed))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trajectories, "PerturbedActions", partial(PerturbedActions, probability=1.0))
        replayed = replay(env, recordings)
    for one, other in zip(recordings, replayed, strict=True):
        np.testing.assert_array_equal(one.states, other.states)


def test_images_are_compared_where_recordings_have_no_seeds(dataset: Path) -> None:
    opened = LeRobotDataset(dataset)
    recordings = [replace(recorded(opened, each), seed=None, success=None) for each in opened.episodes]
    adapter = seen(lambda image: image[::-1])()
    wrong = [each for each in examine(adapter, ArmExpert(adapter), recordings, 3)[0] if each.ok is False]
    assert [(each.name, "upside down" in each.found) for each in wrong] == [("frames", True)]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ("q01", "q99", "state in stats.json: min and max are the 1 % and 99 % quantiles of the frames"),
        ("mean", "max", "state in stats.json: dimension 7 is stated as "),
    ],
)
def test_statistics_of_another_kind_are_named(
    adapter, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], low: str, high: str, words: str
) -> None:
    adapter(ArmEnv)
    copy = tmp_path / "arm"
    shutil.copytree(dataset, copy)
    path = copy / "meta/stats.json"
    tree = json.loads(path.read_text())
    state = tree["observation.state"]
    state["min"], state["max"] = state[low], state[high]
    path.write_text(json.dumps(tree))
    assert main(["doctor", "env", "arm", "--dataset", str(copy)]) == 1
    assert words in lines(capsys.readouterr().out, "WRONG")["statistics"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["env"], "NAME is missing: wla doctor env NAME"),
        (["--tasks", "reach"], "--tasks is for an environment: wla doctor env NAME --tasks .."),
        (["environment", "arm"], "PART: "),
        (["env", "army"], "unknown environment 'army'"),
        (["env", "arm", "--tasks", "rich"], "arm has no task 'rich'; did you mean 'reach'?"),
        (["env", "arm", "--dataset", "nowhere"], "nowhere: no such dataset"),
    ],
)
def test_mistakes_in_the_command_are_one_line(
    adapter, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    adapter(ArmEnv)
    assert main(["doctor", *words]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_a_dataset_of_unknown_tasks_needs_one_name(adapter, dataset: Path, tmp_path: Path, capsys) -> None:
    copy = tmp_path / "arm"
    shutil.copytree(dataset, copy)
    (copy / "collect.jsonl").unlink()
    adapter(ArmEnv)
    assert main(["doctor", "env", "arm", "--dataset", str(copy)]) == 0, "a single task is the one"
    assert main(["doctor", "env", "tabletop", "--dataset", str(copy)]) == 2
    assert "nothing tells the task of its episodes; name the one that was recorded" in capsys.readouterr().err
    assert main(["doctor", "env", "tabletop", "--tasks", "place", "--dataset", str(copy)]) == 1
    assert "are for different robots" in lines(capsys.readouterr().out, "WRONG")["robot"]
