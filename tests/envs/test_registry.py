from __future__ import annotations

import gymnasium
import pytest

from wla.envs.perturb import PerturbedActions
from wla.envs.registry import make_env, make_expert, task_names
from wla.types import Env


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "table"}, "unknown environment 'table'; known are: tabletop"),
        ({"task": "fly"}, "unknown task 'fly'; known are: place, stack"),
        ({"setting": "messy"}, "unknown setting 'messy'; known are: clean, randomized"),
        ({"embodiment": "hand"}, "unknown embodiment 'hand'; known are: gantry, scara"),
        ({"image_size": 2}, "image_size is 2"),
        ({"task": "battery_try", "embodiment": "scara"}, "task 'battery_try' is for gantry; scara cannot do it"),
    ],
)
def test_unknown_names_list_the_known_ones(choice: dict[str, str], message: str) -> None:
    wanted = {"name": "tabletop", "task": "place", **choice}
    with pytest.raises(ValueError, match=message):
        make_env(wanted.pop("name"), **wanted)


def test_task_names_of_an_embodiment_are_those_it_supports() -> None:
    assert task_names("tabletop", "gantry") == task_names("tabletop")
    assert set(task_names("tabletop")) - set(task_names("tabletop", "scara")) == {"battery_try"}
    with pytest.raises(ValueError, match="unknown embodiment 'hand'"):
        task_names("tabletop", "hand")


@pytest.mark.parametrize("task", task_names("tabletop"))
def test_environments_satisfy_the_env_protocol(task: str) -> None:
    env = make_env("tabletop", task=task)
    assert isinstance(env, Env)
    assert isinstance(PerturbedActions(env), Env)
    assert env.robot_spec.embodiment == "tabletop-gantry"


def test_only_the_tabletop_has_experts() -> None:
    env = make_env("tabletop", task="press")
    assert make_expert(PerturbedActions(env)).reset("press the button").instruction == "press the button"
    with pytest.raises(ValueError, match="no scripted expert for Env"):
        make_expert(gymnasium.Env())
