from __future__ import annotations

import collections

import numpy as np

from wla.training.sampling import sample_frames


def test_frames_are_uniform_over_all_datasets_and_in_order():
    lengths = [10, 1, 30]
    sampled = sample_frames(lengths, 4100, np.random.default_rng(0))
    assert [number for number, _ in sampled] == [0, 1, 2]
    counts = collections.Counter({(number, int(row)): 0 for number in range(3) for row in range(lengths[number])})
    for number, rows in sampled:
        assert (np.diff(rows) >= 0).all()
        counts.update((number, int(row)) for row in rows)
    assert len(counts) == 41  # none outside
    assert 60 < min(counts.values()) <= max(counts.values()) < 145


def test_datasets_without_sampled_frames_are_left_out():
    ((number, rows),) = sample_frames([1000, 1], 1, np.random.default_rng(0))
    assert (number, len(rows)) == (0, 1)


def test_equal_generators_give_equal_frames():
    first, again = (sample_frames([5, 7], 20, np.random.default_rng(3)) for _ in range(2))
    for (number, rows), (other, others) in zip(first, again, strict=True):
        assert number == other
        np.testing.assert_array_equal(rows, others)
