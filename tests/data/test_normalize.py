"""Normalisation in every mode, and its exact inverse."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from small_datasets import write_dataset

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.normalize import Normalizer, Statistics, VectorStatistics, compute_statistics


def values(rows: int = 500) -> np.ndarray:
    rng = np.random.default_rng(0)
    scales = np.array([1e-4, 1.0, 300.0, 0.0], np.float32)
    return (rng.normal(size=(rows, 4)) * scales + np.array([5, 0, -1000, 0.3])).astype(np.float32)


def test_values_are_scaled_to_the_range_and_back():
    rows = values()
    normalizer = Normalizer(VectorStatistics.of([rows]), name="state", dimensions="abcd")
    scaled = normalizer.normalize(rows)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:, :3].min(0), -1, atol=1e-6)
    np.testing.assert_allclose(scaled[:, :3].max(0), 1, atol=1e-6)
    radius = (rows.max(0) - rows.min(0)) / 2
    error = np.abs(normalizer.denormalize(scaled) - rows)
    assert (error <= 1e-7 * (radius + np.abs(rows))).all()  # float32 rounding


def test_a_constant_dimension_maps_to_zero_and_back_to_its_constant():
    rows = values()
    normalizer = Normalizer(VectorStatistics.of([rows]), name="state", dimensions="abcd")
    assert (normalizer.normalize(rows)[:, 3] == 0).all()
    assert (normalizer.denormalize(np.full((2, 4), 0.7, np.float32))[:, 3] == np.float32(0.3)).all()


def test_values_outside_the_statistics_are_not_clipped():
    normalizer = Normalizer(VectorStatistics.of([np.array([[0.0], [2.0]], np.float32)]), name="state", dimensions="a")
    assert normalizer.normalize(np.array([4.0], np.float32)).tolist() == [3.0]


def test_leading_dimensions_are_kept():
    normalizer = Normalizer(VectorStatistics.of([values()]), name="action", dimensions="abcd")
    chunk = values(12).reshape(3, 4, 4)
    np.testing.assert_array_equal(normalizer.normalize(chunk)[1], normalizer.normalize(chunk[1]))


def test_different_dimensions_are_refused_with_both_numbers():
    statistics = VectorStatistics.of([values()])
    with pytest.raises(ValueError, match="action has 7 dimensions and its statistics 4"):
        Normalizer(statistics, name="action", dimensions="abcdefg")
    with pytest.raises(ValueError, match="state has 3 dimensions, its statistics 4"):
        Normalizer(statistics, name="state", dimensions="abcd").normalize(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min": (0.0, 2.0)}, "dimension 1: min 2.0 is above max 1.0"),
        ({"min": (0.0, float("nan"))}, "dimension 1: min nan is above max 1.0"),
        ({"max": (float("inf"), 1.0)}, "dimension 0: min 0.0 and max inf do not span a finite range"),
        ({"std": (1.0,)}, "different lengths"),
        ({"q01": (0.1,)}, "different lengths"),
        ({"std": (1.0, -1.0)}, "dimension 1: std is -1.0"),
        ({"mean": (float("nan"), 0.5)}, "dimension 0: mean is nan"),
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


def gripper(closed: int, frames: int = 1000) -> np.ndarray:
    """A gripper that is closed in a few frames, and a joint beside it."""
    column = np.zeros(frames, np.float32)
    column[:closed] = 1
    return np.stack([column, np.linspace(-1, 1, frames, dtype=np.float32)], axis=1)


@pytest.mark.parametrize(
    ("mode", "low", "high"),
    [
        ("MIN_MAX", lambda x: x.min(0), lambda x: x.max(0)),
        ("QUANTILES", lambda x: np.quantile(x, 0.01, axis=0), lambda x: np.quantile(x, 0.99, axis=0)),
        ("QUANTILE10", lambda x: np.quantile(x, 0.1, axis=0), lambda x: np.quantile(x, 0.9, axis=0)),
        ("MEAN_STD", lambda x: x.mean(0) - x.std(0), lambda x: x.mean(0) + x.std(0)),
    ],
)
def test_each_mode_maps_its_statistics_to_one_and_back(mode, low, high):
    rows = values()[:, :3].astype(np.float64)
    first, second = rows[:200].astype(np.float32), rows[200:].astype(np.float32)
    normalizer = Normalizer(VectorStatistics.of([first, second]), mode, name="state", dimensions="abc")
    at_ends = normalizer.normalize(np.float32([low(rows), high(rows)]))
    np.testing.assert_allclose(at_ends, [[-1] * 3, [1] * 3], atol=5e-3)
    scaled = normalizer.normalize(np.float32(rows))
    np.testing.assert_allclose(normalizer.denormalize(scaled), rows, rtol=1e-6, atol=1e-6)


def test_identity_changes_nothing_not_even_constants():
    rows = values()
    normalizer = Normalizer(VectorStatistics.of([rows]), "IDENTITY", name="state", dimensions="abcd")
    np.testing.assert_array_equal(normalizer.normalize(rows + 1), rows + 1)
    np.testing.assert_array_equal(normalizer.denormalize(rows), rows)
    assert normalizer.notes == []


@pytest.mark.parametrize("mode", ["MIN_MAX", "MEAN_STD", "QUANTILES", "QUANTILE10"])
@pytest.mark.parametrize("span", [1e-9, 4e-7, 1e-5, 9e-5])
def test_a_dimension_that_hardly_varies_is_a_constant_and_announced(mode, span):
    rng = np.random.default_rng(0)
    rows = np.stack([0.5 + span * rng.random(300), rng.random(300)], axis=1).astype(np.float32)
    normalizer = Normalizer(VectorStatistics.of([rows]), mode, name="state", dimensions=("locked", "elbow"))
    assert np.abs(normalizer.normalize(np.float32([0.51, 0.5]))[0]) <= 1
    back = normalizer.denormalize(np.float32([[3.0, 0.0], [-3.0, 0.0]]))[:, 0]
    np.testing.assert_allclose(back, 0.5 + span / 2, atol=span + 1e-7)
    if span > 1e-7:  # below, float32 holds one value
        assert normalizer.notes == ["state: these dimensions vary by less than 0.0001 and count as constant: locked"]


@pytest.mark.parametrize("mode", ["QUANTILES", "QUANTILE10"])
def test_a_gripper_that_seldom_closes_still_closes(mode):
    rows = gripper(closed=3)
    normalizer = Normalizer(VectorStatistics.of([rows]), mode, name="action", dimensions=("gripper", "joint"))
    assert normalizer.normalize(rows)[[0, -1], 0].tolist() == [1, -1]
    np.testing.assert_allclose(normalizer.denormalize(normalizer.normalize(rows)), rows, atol=1e-6)
    assert normalizer.notes == [f"action: these dimensions hardly vary in {mode}; their min and max are used: gripper"]


def test_statistics_without_what_a_mode_needs_are_refused():
    published = VectorStatistics(min=(0.0,), max=(1.0,))
    with pytest.raises(ValueError, match="action: QUANTILES needs q01 and q99, and its statistics have only min, max"):
        Normalizer(published, "QUANTILES", name="action", dimensions="a")
    with pytest.raises(ValueError, match="MEAN_STD needs mean and std"):
        Normalizer(published, "MEAN_STD", name="action", dimensions="a")


def test_statistics_of_earlier_versions_agree_with_those_that_also_have_quantiles():
    new = Statistics(state=VectorStatistics.of([values()]), action=VectorStatistics.of([values()]))
    old = Statistics(
        state=new.state.replace(q01=None, q10=None, q90=None, q99=None), action=VectorStatistics(**new.action.known)
    )
    assert old.agrees(new)
    assert new.agrees(old)
    assert not new.agrees(Statistics(state=new.state))
    assert not new.agrees(old.replace(state=VectorStatistics.of([values() + 1])))
