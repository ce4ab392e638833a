"""Advantages compare the episodes of a group; groups that tell nothing are left out."""

from __future__ import annotations

import numpy as np

from wla.training.rl.groups import add_speed, group_spread, informative, normalize_in_groups

GROUPS = np.repeat(np.arange(3), 4)


def test_values_are_compared_within_their_group():
    values = np.array([0.0, 0, 1, 1, 5, 5, 5, 5, 100, 102, 100, 102])
    expected = [-1.0, -1, 1, 1, 0, 0, 0, 0, -1, 1, -1, 1]
    np.testing.assert_allclose(normalize_in_groups(values, GROUPS), expected)
    assert group_spread(values, GROUPS) == 0.5


def test_groups_that_all_fail_or_succeed_are_not_informative():
    values = np.array([0.0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1])
    assert informative(values, GROUPS).tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_speed_is_compared_in_its_group_and_is_not_drowned_by_success():
    success, speeds = np.array([1.0, 1, 0, 0]), -np.array([10.0, 1, 10, 1])
    group = np.zeros(4, int)
    decoupled = add_speed(success, speeds, group, weight=0.5, decoupled=True)
    np.testing.assert_allclose(decoupled, [0.5, 1.5, -1.5, -0.5])
    few = add_speed(success, speeds / 100, group, weight=0.5, decoupled=True)
    np.testing.assert_allclose(few, decoupled)
    joint = add_speed(success, speeds / 1000, group, weight=0.5, decoupled=False)
    np.testing.assert_allclose(joint, [1, 1, -1, -1], atol=0.02)
