from __future__ import annotations

import re

import numpy as np
import pytest

from wla.envs.metaworld.instructions import INSTRUCTIONS
from wla.envs.metaworld.objects import positions
from wla.envs.metaworld.tasks import MT50

STATE = np.arange(39) / 100


@pytest.mark.parametrize("task", MT50)
def test_objects_are_called_as_in_the_instructions(task: str) -> None:
    found = positions(task, STATE)
    assert found["goal"] == (0.36, 0.37, 0.38)
    words = {word for text in INSTRUCTIONS[task].train for word in re.findall("[a-z]+", text)}
    unnamed = {"reach-v3", "reach-wall-v3"}  # their puck is not to be touched, nor spoken of
    for name in set(found) - {"goal"} - ({"puck"} if task in unnamed else set()):
        assert set(name.split()) <= words, f"no instruction of {task} speaks of the {name}"


def test_a_second_object_has_the_second_position() -> None:
    assert positions("stick-pull-v3", STATE) == {
        "stick": (0.04, 0.05, 0.06),
        "thermos": (0.11, 0.12, 0.13),
        "goal": (0.36, 0.37, 0.38),
    }
