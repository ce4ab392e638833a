from __future__ import annotations

import subprocess
import sys

import pytest

from wla.envs import registry
from wla.envs.family import EnvFamily
from wla.envs.perturb import PerturbedActions
from wla.envs.registry import DEFAULT_FAMILY, family_versions, load_family, make_env, make_expert
from wla.envs.seeds import SEED_RANGES
from wla.types import Env

TABLETOP = load_family("tabletop")


def no_env(task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> Env:
    raise AssertionError("never made")


def family(**fields: object) -> EnvFamily:
    return EnvFamily(**{"name": "some", "tasks": ("a", "b", "c"), "make": no_env, **fields})


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "tabeltop"}, "unknown environment 'tabeltop'; did you mean 'tabletop'?"),
        ({"name": "moon"}, "unknown environment 'moon'; known are: tabletop, .*wla init --env GYM_ID"),
        ({"task": "fly"}, "tabletop has no task 'fly'; it has place, stack"),
        ({"task": "short"}, "tabletop has no task 'short'"),
        ({"setting": "messy"}, "tabletop has no setting 'messy'; it has clean, randomized"),
        ({"embodiment": "hand"}, "tabletop has no embodiment 'hand'; it has gantry, scara"),
        ({"protocol": "other"}, "tabletop has no protocol 'other'; it has default"),
        ({"image_size": 2}, "image_size is 2"),
        ({"task": "battery_try", "embodiment": "scara"}, "task 'battery_try' is for gantry; scara cannot do it"),
    ],
)
def test_unknown_names_list_the_known_ones(choice: dict[str, str], message: str) -> None:
    wanted = {"name": "tabletop", "task": "place", **choice}
    with pytest.raises(ValueError, match=message):
        make_env(wanted.pop("name"), **wanted)


@pytest.mark.parametrize("task", TABLETOP.tasks)
def test_environments_satisfy_the_env_protocol(task: str) -> None:
    env = make_env("tabletop", task=task)
    assert isinstance(env, Env)
    assert isinstance(PerturbedActions(env), Env)
    assert env.robot_spec.embodiment == "tabletop-gantry"


def test_the_tabletop_has_an_expert_for_its_environments() -> None:
    expert = make_expert("tabletop", make_env("tabletop", task="press"))
    assert expert.reset("press the button").instruction == "press the button"


def test_a_family_without_experts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._loaded, "some", family())
    with pytest.raises(ValueError, match=r"some has no scripted expert; .* --policy P --expert-fraction 0"):
        make_expert("some", make_env("tabletop", task="press"))


def test_groups_and_tasks_may_be_mixed_and_repeated() -> None:
    some = family(groups={"late": ("b", "c")}, default_tasks=("c",))
    assert some.select_tasks(["c", "late", "a", "late"]) == ("c", "b", "a")
    assert some.select_tasks([]) == ("c",)
    assert family().select_tasks([]) == ("a", "b", "c")
    with pytest.raises(ValueError, match="some has no task 'd'; it has a, b, c, late"):
        some.select_tasks(["a", "d"])
    assert TABLETOP.select_tasks(["video"]) == TABLETOP.video_tasks == ("place_on_plate", "push_back")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tasks": ()}, "has no tasks"),
        ({"settings": ()}, "has no settings"),
        ({"default_tasks": ("d",)}, "has no tasks {'d'}"),
        ({"groups": {"late": ("d",)}}, "has no tasks {'d'}"),
        ({"groups": {"a": ("b",)}}, "share a name"),
        ({"seeds": {**SEED_RANGES, "training": range(5, 20_000)}}, "training seeds .* are not within"),
        ({"seeds": {**SEED_RANGES, "evaluation": range(100_000, 100_000)}}, "evaluation seeds .* are not within"),
    ],
)
def test_families_that_contradict_themselves_are_bugs(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        family(**fields)


def test_versions_are_those_of_the_loaded_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_loaded", {"some": family(versions={"simulator": "3.1"})})
    assert family_versions() == {"simulator": "3.1"}
    load_family("tabletop")
    assert family_versions().keys() == {"simulator", "mujoco"}


def test_names_need_no_simulator() -> None:
    code = (
        "import sys; from wla.envs.registry import DEFAULT_FAMILY; from wla.evaluation.configs import EvalConfig; "
        "print(sorted({'torch', 'mujoco', 'numpy', 'gymnasium'} & set(sys.modules)), DEFAULT_FAMILY)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", DEFAULT_FAMILY]
