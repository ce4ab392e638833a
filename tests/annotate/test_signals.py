"""What a robot does, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
from motions import CARRY, PICK, RELEASE, gantry, record

from wla.annotate.signals import CONDITIONS, Robot
from wla.robots.aloha import aloha_robot
from wla.robots.libero import libero_robot


def test_each_condition_has_a_value_in_each_frame():
    state, actions = record([*PICK, *CARRY, *RELEASE])
    signals = Robot(gantry()).signals(state, actions)
    assert signals.keys() == CONDITIONS.keys()
    assert all(values.shape == (len(state),) for values in signals.values())
    assert np.flatnonzero(signals["closed"]).tolist() == list(range(5, 13))
    assert signals["down"][3]
    assert signals["along"][0]
    assert signals["slow"][5]


def test_without_actions_the_fingers_tell():
    state, _ = record([*PICK, *CARRY, *RELEASE])
    signals = Robot(gantry()).signals(state, None)
    assert np.flatnonzero(signals["closed"]).tolist() == list(range(6, 14))  # a step later: measured, not told
    assert signals["along"][0]


def test_a_glitch_of_the_gripper_does_not_count():
    spec = gantry()
    fast = spec.model_copy(update={"action": spec.action.model_copy(update={"rate_hz": 50.0})})
    state, actions = record([*PICK * 3, *CARRY * 3, *RELEASE * 3])
    closed = Robot(spec).signals(state, actions)["closed"]
    assert closed[5]
    assert not Robot(fast).signals(state, actions)["closed"][5]  # 20 ms


def test_the_published_robots():
    libero = Robot(libero_robot())
    assert [word for word in CONDITIONS if libero.absent(word, actions=True)] == []
    two_arms = Robot(aloha_robot(end_effector=False))
    assert "exactly one gripper" in str(two_arms.absent("closed", actions=True))
    assert two_arms.absent("slow", actions=True) is None


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_episodes(length):
    state, actions = record(PICK[:length])
    assert all(values.shape == (length,) for values in Robot(gantry()).signals(state, actions).values())
