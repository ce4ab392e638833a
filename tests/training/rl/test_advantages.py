"""Advantages compare the episodes of a group; groups that tell nothing are left out."""

from __future__ import annotations

import numpy as np

from wla.training.rl.advantages import SUCCESS_RANGE, group_spread, informative, normalize_in_groups

GROUPS = np.repeat(np.arange(3), 4)


def test_values_are_compared_within_their_group():
    values = np.array([0.0, 0, 1, 1, 5, 5, 5, 5, 100, 102, 100, 102])
    expected = [-1.0, -1, 1, 1, 0, 0, 0, 0, -1, 1, -1, 1]
    np.testing.assert_allclose(normalize_in_groups(values, GROUPS), expected)
    assert group_spread(values, GROUPS) == 0.5


def test_groups_that_all_fail_or_succeed_are_not_informative():
    values = np.array([0.0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1])
    assert informative(values, GROUPS, SUCCESS_RANGE).tolist() == [False] * 4 + [True] * 4 + [False] * 4
    rare = np.array([1.0] + [0.0] * 15)
    assert not informative(rare, np.zeros(16, int), SUCCESS_RANGE).any(), "one in 16 is below a tenth"
    assert informative(rare, np.zeros(16, int), None).all()
