"""Timing of evaluations: stale steps and jerk of an episode, and their means."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wla.control.timing_metrics import TimingMetrics
from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.configs import EvalConfig
from wla.specs import ActionSpec
from wla.types import StepTiming

SPEC = ActionSpec(
    names=("dx", "x", "gripper"),
    units=("m",) * 3,
    kinds=("delta", "absolute", "absolute"),
    low=(-1.0, -5.0, 0.0),
    high=(1.0, 5.0, 1.0),
    frame="world",
    gripper="0 .. 1",
    rate_hz=10.0,
)


def score(dx: list[float], x: list[float], borders: set[int] = frozenset(), stale: set[int] = frozenset()):
    metrics = TimingMetrics(SPEC)
    for index, (delta, target) in enumerate(zip(dx, x, strict=True)):
        action = np.array([delta, target, index % 2], np.float32)
        metrics.add(action, StepTiming(stale=index in stale, border=index in borders))
    return metrics.score()


def test_steady_motion_has_no_jerk() -> None:
    found = score([0.1, 0.2, 0.3, 0.4], [0, 1, 2, 3])
    assert found.jerk == pytest.approx(100 * 0.1 / 2, abs=6)
    steady = score([0.1] * 6, [0.0] * 6, borders={3})
    assert (steady.jerk, steady.border_jerk, steady.stale) == (0.0, 0.0, 0.0)


def test_a_jump_where_chunks_meet_is_counted_there() -> None:
    found = score([0.1, 0.1, 0.1, 0.5, 0.5], [0.0] * 5, borders={3}, stale={0})
    assert found.border_jerk == pytest.approx(100 * 0.4 / 2)
    assert found.jerk == pytest.approx(100 * 0.4 / 2 / 2)
    assert found.stale == pytest.approx(0.2)


def test_a_policy_without_a_delay_has_no_timing() -> None:
    metrics = TimingMetrics(SPEC)
    metrics.add(np.zeros(3, np.float32), None)
    assert metrics.score() is None


def test_a_latency_is_part_of_what_is_evaluated(tmp_path) -> None:
    config = EvalConfig(policy="expert", tasks=("place",), episodes=2, latency_ms=200.0, chunking="async", max_videos=0)
    summary = run_benchmark(config, tmp_path)
    (rates,) = summary.timing
    assert rates.episodes == 2
    assert rates.stale.estimate > 0
    stored = json.loads((tmp_path / "summary.json").read_text())["cases"][0]["timing"]
    assert stored["stale"]["estimate"] == rates.stale.estimate
    with pytest.raises(ValueError, match="another run"):
        run_benchmark(config.replace(latency_ms=100.0), tmp_path)


def test_parts_of_a_latency_need_one() -> None:
    with pytest.raises(ValueError, match="give --latency-ms"):
        _ = EvalConfig(policy="expert", chunking="async").timing
    assert EvalConfig(policy="expert").timing is None
