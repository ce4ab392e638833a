"""Scaling to [-1, 1] and its exact inverse."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from small_datasets import write_dataset

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.normalize import MinMaxNormalizer, Statistics, VectorStatistics, compute_statistics


def values(rows: int = 500) -> np.ndarray:
    rng = np.random.default_rng(0)
    scales = np.array([1e-4, 1.0, 300.0, 0.0], np.float32)
    return (rng.normal(size=(rows, 4)) * scales + np.array([5, 0, -1000, 0.3])).astype(np.float32)


def test_values_are_scaled_to_the_range_and_back():
    rows = values()
    normalizer = MinMaxNormalizer(VectorStatistics.of([rows]), dim=4, name="state")
    scaled = normalizer.normalize(rows)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:, :3].min(0), -1, atol=1e-6)
    np.testing.assert_allclose(scaled[:, :3].max(0), 1, atol=1e-6)
    radius = (rows.max(0) - rows.min(0)) / 2
    error = np.abs(normalizer.denormalize(scaled) - rows)
    assert (error <= 1e-7 * (radius + np.abs(rows))).all()  # float32 rounding


def test_a_constant_dimension_maps_to_zero_and_back_to_its_constant():
    rows = values()
    normalizer = MinMaxNormalizer(VectorStatistics.of([rows]), dim=4, name="state")
    assert (normalizer.normalize(rows)[:, 3] == 0).all()
    assert (normalizer.denormalize(np.full((2, 4), 0.7, np.float32))[:, 3] == np.float32(0.3)).all()


def test_values_outside_the_statistics_are_not_clipped():
    normalizer = MinMaxNormalizer(VectorStatistics.of([np.array([[0.0], [2.0]], np.float32)]), dim=1, name="state")
    assert normalizer.normalize(np.array([4.0], np.float32)).tolist() == [3.0]


def test_leading_dimensions_are_kept():
    normalizer = MinMaxNormalizer(VectorStatistics.of([values()]), dim=4, name="action")
    chunk = values(12).reshape(3, 4, 4)
    np.testing.assert_array_equal(normalizer.normalize(chunk)[1], normalizer.normalize(chunk[1]))


def test_different_dimensions_are_refused_with_both_numbers():
    statistics = VectorStatistics.of([values()])
    with pytest.raises(ValueError, match="action has 7 dimensions and its statistics 4"):
        MinMaxNormalizer(statistics, dim=7, name="action")
    with pytest.raises(ValueError, match="state has 3 dimensions, its statistics 4"):
        MinMaxNormalizer(statistics, dim=4, name="state").normalize(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min": (0.0, 2.0)}, "dimension 1: min 2.0 is above max 1.0"),
        ({"min": (0.0, float("nan"))}, "dimension 1: min nan is above max 1.0"),
        ({"max": (float("inf"), 1.0)}, "dimension 0: min 0.0 and max inf do not span a finite range"),
        ({"std": (1.0,)}, "different lengths"),
    ],
)
def test_impossible_statistics_are_refused(change, message):
    good = {"min": (0.0, 0.0), "max": (1.0, 1.0), "mean": (0.5, 0.5), "std": (0.1, 0.1), "count": 3}
    with pytest.raises(ValidationError, match=message):
        VectorStatistics(**good | change)


def test_statistics_cover_all_frames_of_all_datasets(tmp_path):
    datasets = [LeRobotDataset(write_dataset(tmp_path / name, seeds)) for name, seeds in (("a", (0, 1)), ("b", (2,)))]
    videos = LeRobotDataset(write_dataset(tmp_path / "c", (3,), with_actions=False))
    statistics = compute_statistics([*datasets, videos])
    states = np.concatenate([dataset.state for dataset in [*datasets, videos]])
    np.testing.assert_allclose(statistics.state.mean, states.mean(0), atol=1e-6)
    np.testing.assert_array_equal(np.float32(statistics.state.max), states.max(0))
    assert statistics.state.count == 40
    assert statistics.action.count == 30
    assert compute_statistics([videos]).action is None
    statistics.save(tmp_path / "statistics.json")
    assert Statistics.load(tmp_path / "statistics.json") == statistics


def test_statistics_over_different_robots_are_refused():
    with pytest.raises(ValueError, match=r"vectors of different dimensions \[3, 4\]"):
        VectorStatistics.of([values(), np.zeros((2, 3), np.float32)])
