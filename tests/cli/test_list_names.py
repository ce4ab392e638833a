"""`wla list`: every name that a command takes, at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wla.cli.list_names import SECTIONS
from wla.cli.main import main
from wla.control.open_robot import DRIVERS
from wla.envs.tabletop.tasks import TASKS
from wla.policy.hub import bundled
from wla.presets.recipe import bundled_recipes, load_recipe
from wla.training.ablation import Ablation


def names(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    assert main(["list", *words]) == 0
    return {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}


def test_everything_is_listed_by_kind_without_torch() -> None:
    code = "import sys; from wla.cli.main import main; main(['list']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "False"
    assert [line.split()[0] for line in lines[:-1] if line and not line.startswith(" ")] == list(SECTIONS)


def test_policies_are_apart_from_what_is_not_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = names(capsys, "policies")
    assert found.keys() == {*bundled("policy"), "expert", "random", "zero"}
    assert not found.keys() & {"nano-base", "nano-value"}
    assert names(capsys, "value-models").keys() == {"nano-value"}
    assert names(capsys, "backbones").keys() == {"nano-base"}


def test_tasks_are_listed_with_their_groups(capsys: pytest.CaptureFixture[str]) -> None:
    found = names(capsys, "tasks")
    assert found.keys() == {*TASKS, "short", "memory", "video"}
    assert "short" in found["place"]
    assert "default" in found["place"]
    assert "place" in found["short"]


def test_recipes_are_listed_with_what_they_train(capsys: pytest.CaptureFixture[str]) -> None:
    found = names(capsys, "recipes")
    assert found.keys() == bundled_recipes().keys()
    assert "[rl] " in found["nano_tabletop_rl"]
    for name, line in found.items():
        assert ("[ablation]" in line) == isinstance(load_recipe(name), Ablation)
        assert line.split("] ")[0].split("[")[1], name
        assert len(line.split("] ")[1]) > 20


def test_a_family_that_does_not_load_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wla.cli.list_names.family_names", lambda: ["tabletop", "kitchen"])
    found = names(capsys, "environments")
    assert found.keys() == {"tabletop", "kitchen", "GYM_ID"}
    assert "kitchen" in found["kitchen"]


def test_drivers_of_other_packages_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(capsys, "drivers").keys() == {"FAMILY:TASK", "lerobot:NAME"}
    monkeypatch.setattr(type(DRIVERS), "names", lambda self: ["my_arm", "broken"])
    monkeypatch.setattr(type(DRIVERS), "find", _found)
    found = names(capsys, "drivers")
    assert "a robot of another package" in found["my_arm"]
    assert "cannot be imported" in found["broken"]


def _found(registry: object, name: str, kind: type) -> object:
    if name == "broken":
        raise ValueError("robot driver 'broken' cannot be imported")
    return kind
