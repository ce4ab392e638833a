"""Conditions on a robot's motion, for each frame."""

from __future__ import annotations

import numpy as np
import pytest
from motions import CARRY, PICK, RELEASE, gantry, record

from wla.annotate.signals import CONDITIONS, RobotSignals
from wla.robots.aloha import aloha_robot
from wla.robots.libero import libero_robot


def test_each_condition_has_a_value_in_each_frame():
    state, actions = record([*PICK, *CARRY, *RELEASE])
    signals = RobotSignals(gantry()).signals(state, actions)
    assert signals.keys() == CONDITIONS.keys()
    assert all(values.shape == (len(state),) for values in signals.values())
    assert np.flatnonzero(signals["closed"]).tolist() == list(range(5, 13))
    assert signals["down"][3]
    assert signals["along"][0]
    assert signals["slow"][5]


def test_without_actions_the_measured_fingers_are_used():
    state, _ = record([*PICK, *CARRY, *RELEASE])
    signals = RobotSignals(gantry()).signals(state, None)
    assert np.flatnonzero(signals["closed"]).tolist() == list(range(6, 14))  # one step later: measured, not commanded
    assert signals["along"][0]


def test_a_glitch_of_the_gripper_is_ignored():
    spec = gantry()
    faster = spec.replace(action=spec.action.replace(rate_hz=50.0))
    state, actions = record([*PICK * 3, *CARRY * 3, *RELEASE * 3])
    closed = RobotSignals(spec).signals(state, actions)["closed"]
    assert closed[5]
    assert not RobotSignals(faster).signals(state, actions)["closed"][5]  # 20 ms


def test_missing_inputs_of_published_robots():
    libero = RobotSignals(libero_robot())
    assert [name for name in CONDITIONS if libero.missing_input(name, actions=True)] == []
    two_arms = RobotSignals(aloha_robot(end_effector=False))
    assert "exactly one gripper" in str(two_arms.missing_input("closed", actions=True))
    assert two_arms.missing_input("slow", actions=True) is None


@pytest.mark.parametrize("length", [1, 2])
def test_very_short_episodes(length):
    state, actions = record(PICK[:length])
    assert all(values.shape == (length,) for values in RobotSignals(gantry()).signals(state, actions).values())
