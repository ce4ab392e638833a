"""Families of other installed packages: a distribution is a folder with metadata, an entry point and a module."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wla.cli.main import main
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.envs import registry
from wla.envs.registry import load_family, make_env, make_expert
from wla.robots import load_robot
from wla.rollout.results import read_results

KITCHEN = '''
import numpy as np
from wla.envs.family import EnvFamily
from wla.specs import ActionSpec, ObservationSpec, RobotSpec
from wla.types import ActionChunk, BasePolicy, PolicyState


class Kitchen:
    """A knob to turn to 1; no class of gymnasium."""

    def __init__(self, task, size, limit):
        self.task, self.size, self.limit = task, size, limit
        self.robot_spec = RobotSpec(
            embodiment="kitchen-arm",
            action=ActionSpec(names=("turn",), units=("rad",), kinds=("delta",), low=(-0.25,), high=(0.25,),
                              frame="joint", gripper="none", rate_hz=5.0),
            observation=ObservationSpec(cameras={"top": (size, size)}, state_names=("angle",), state_units=("rad",),
                                        state_frame="joint"),
        )

    def observe(self):
        image = np.full((self.size, self.size, 3), 100, np.uint8)
        return {"images": {"top": image}, "state": np.array([self.angle], np.float32)}

    def reset(self, *, seed=None, options=None):
        self.angle, self.steps = 0.01 * (seed % 10), 0
        return self.observe(), {"instruction": f"{self.task} the knob"}

    def step(self, action):
        self.angle, self.steps = self.angle + float(action[0]), self.steps + 1
        success = self.angle >= 1
        return self.observe(), 0.0, success, self.steps >= self.limit, {"success": success}

    def close(self):
        pass


class Expert(BasePolicy):
    def __init__(self, env):
        self.robot_spec = env.robot_spec

    def reset(self, instruction, *, seed=0):
        return PolicyState(instruction, seed)

    def act(self, observation, state):
        return ActionChunk(np.array([[0.25]], np.float32), ("turn the knob",)), state


def make(task, *, setting, embodiment, image_size, protocol):
    return Kitchen(task, image_size or 16, {"full": 12, "short": 2}[protocol])


FAMILY = EnvFamily(name="kitchen", tasks=("turn", "spin"), make=make, settings=("day", "night"), groups={"all": ("turn", "spin")},
                   default_tasks=("turn",), make_expert=Expert, versions={"kitchen-sim": "2.0"}, protocols=("full", "short"),
                   seeds={"training": range(100), "validation": range(10_000, 10_100), "evaluation": range(100_050, 100_100)})
STRANGER = FAMILY.tasks
'''  # noqa: E501


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages with the module `kitchen_sim`."""
    (tmp_path / "kitchen_sim.py").write_text(KITCHEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_loaded", {})
    yield tmp_path
    sys.modules.pop("kitchen_sim", None)


def install(site: Path, package: str, entry: str) -> None:
    folder = site / f"{package.replace('-', '_')}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[wla.envs]\n{entry}\n")


def test_a_family_of_another_package_is_evaluated_and_recorded_by_name(site: Path) -> None:
    install(site, "kitchen-sim", "kitchen = kitchen_sim:FAMILY")
    out = site / "out"
    assert main(["eval", "expert", "--env", "kitchen", "--tasks", "all", "--episodes", "3", "--out", str(out)]) == 0
    results = read_results(out / "results.jsonl")
    assert [(result.task, result.seed) for result in results] == [
        (task, seed) for task in ("turn", "spin") for seed in (100_050, 100_051, 100_052)
    ]
    assert {(result.setting, result.embodiment) for result in results} == {("day", "default")}
    assert {result.outcome for result in results} == {"success"}
    assert results[0].versions["kitchen-sim"] == "2.0"
    data = site / "data"
    assert main(["collect", "--env", "kitchen", "--episodes", "2", "--out", str(data)]) == 0
    assert [episode.seed for episode in LeRobotDataset(data).episodes] == [0, 1]


def test_its_protocols_are_named_in_all_results_and_share_no_folder(site: Path, capsys: pytest.CaptureFixture) -> None:
    install(site, "kitchen-sim", "kitchen = kitchen_sim:FAMILY")
    short, usual, data = (site / name for name in ("short", "usual", "data"))
    family = ["--env", "kitchen", "--episodes", "2"]
    assert main(["eval", "expert", *family, "--protocol", "short", "--out", str(short)]) == 0
    assert main(["eval", "expert", *family, "--out", str(usual)]) == 0
    results = read_results(short / "results.jsonl")
    assert [(result.protocol, result.outcome, result.steps) for result in results] == [("short", "failure", 2)] * 2
    assert {result.protocol for result in read_results(usual / "results.jsonl")} == {"full"}
    for run, protocol in ((short, "short"), (usual, "full")):
        assert json.loads((run / "run.json").read_text())["protocol"] == protocol
        summary = json.loads((run / "summary.json").read_text())
        assert (summary["protocol"], summary["cases"][0]["protocol"]) == (protocol, protocol)
        assert f"protocol {protocol}" in (run / "report.html").read_text("utf-8")
    capsys.readouterr()
    assert main(["eval", "expert", *family, "--out", str(short)]) == 2  # a rate over both would mean nothing
    assert "holds results of another run (policy expert, replan_steps unset, protocol short)" in capsys.readouterr().err
    assert main(["report", str(usual), str(short)]) == 2
    assert "no episode of the same task, setting, robot, protocol and seed" in capsys.readouterr().err
    assert main(["collect", *family, "--protocol", "short", "--out", str(data)]) == 0
    assert {result.protocol for result in read_results(data / "collect.jsonl")} == {"short"}
    for command in ("eval expert", "collect"):
        assert main([*command.split(), "--env", "kitchen", "--protocol", "shrt", "--out", str(site / "no")]) == 2
        assert "kitchen has no protocol 'shrt'; did you mean 'short'?" in capsys.readouterr().err


def test_its_seeds_hold(site: Path, capsys: pytest.CaptureFixture) -> None:
    install(site, "kitchen-sim", "kitchen = kitchen_sim:FAMILY")
    assert main(["eval", "expert", "--env", "kitchen", "--episodes", "51", "--out", str(site / "out")]) == 2
    assert "seed 100100 is not for evaluation: use seeds from 100050 to 100099" in capsys.readouterr().err
    assert main(["collect", "--env", "kitchen", "--seed", "100", "--out", str(site / "out")]) == 2
    assert "seed 100 is not for training: use seeds from 0 to 99" in capsys.readouterr().err


def test_nothing_is_imported_before_it_is_asked_for(site: Path) -> None:
    install(site, "kitchen-sim", "kitchen = kitchen_sim:FAMILY")
    load_family("tabletop")
    assert "kitchen_sim" not in sys.modules
    env = make_env("kitchen", task="turn", image_size=32)
    assert env.robot_spec.observation.cameras == {"top": (32, 32)}
    assert make_expert("kitchen", env).reset("go").instruction == "go"


def test_its_name_is_among_the_known_ones(site: Path) -> None:
    install(site, "kitchen-sim", "kitchen = kitchen_sim:FAMILY")
    with pytest.raises(ValueError, match="unknown environment 'kitcen'; did you mean 'kitchen'"):
        load_family("kitcen")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("broken = nowhere.at_all:FAMILY", r"cannot be imported \(ModuleNotFoundError: No module named 'nowhere'\)"),
        ("broken = kitchen_sim:FAMILIES", r"\(kitchen_sim:FAMILIES\) cannot be imported \(AttributeError: .*; repair"),
        ("broken = kitchen_sim:STRANGER", "is a tuple; the entry point leads to an EnvFamily of its own name"),
        ("broken = kitchen_sim:FAMILY", "is called 'kitchen'; the entry point leads to an EnvFamily of its own name"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_one_line(
    site: Path, capsys: pytest.CaptureFixture, entry: str, message: str
) -> None:
    install(site, "kitchen-sim", entry)
    with pytest.raises(ValueError, match=f"environment family 'broken' of the package kitchen-sim .*{message}"):
        load_family("broken")
    assert main(["eval", "expert", "--env", "broken", "--out", str(site / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    load_family("tabletop")  # others are not in its way


@pytest.mark.parametrize(("name", "others"), [("kitchen", "one, two"), ("tabletop", "wla, one, two")])
def test_a_name_that_several_packages_offer_is_refused(site: Path, name: str, others: str) -> None:
    for package in ("one", "two"):
        install(site, package, f"{name} = kitchen_sim:FAMILY")
    with pytest.raises(ValueError, match=rf"'{name}' is offered by several packages \({others}\); uninstall all but"):
        load_family(name)


def test_a_robot_of_another_package_has_a_name(site: Path) -> None:
    (site / "kitchen_robot.py").write_text(
        "from wla.robots import load_robot\n"
        "ARM = load_robot('libero_panda').replace(embodiment='kitchen-arm')\nSTRANGER = ARM.action\n"
    )
    folder = site / "kitchen_robot-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: kitchen-robot\nVersion: 1.0\n")
    points = "kitchen-arm = kitchen_robot:ARM\nstranger = kitchen_robot:STRANGER\nother = kitchen_robot:ARM\n"
    (folder / "entry_points.txt").write_text(f"[wla.robots]\n{points}")
    assert load_robot("kitchen-arm").embodiment == "kitchen-arm"
    assert DatasetConfig(path="data", robot="kitchen-arm").robot == load_robot("kitchen-arm")
    for name, message in (
        ("kitchen_arm", "unknown robot 'kitchen_arm'; did you mean 'kitchen-arm'?"),
        ("stranger", "is a ActionSpec; the entry point leads to a RobotSpec of its own name"),
        ("other", "is called 'kitchen-arm'; the entry point leads to a RobotSpec of its own name"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            load_robot(name)
