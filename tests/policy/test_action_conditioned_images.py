"""Imagined images follow actions: opposite chunks, imagined and really run (benchmarks/action_conditioning.py)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from wla.policy.wla_policy import load_policy


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return import_module("action_conditioning")


def test_images_of_opposite_actions_belong_to_their_own_outcomes(benchmark_module):
    follows = benchmark_module.measure(
        load_policy("nano-memory", imagination=True), ["place", "push"], (10_020, 10_021)
    )
    pairs = [follow for found in follows.values() for follow in found]
    assert len(pairs) == 12
    assert sum(pairs) >= 11


def test_images_that_are_swapped_or_the_same_do_not_follow(benchmark_module):
    came = np.zeros((2, 8, 8, 3), np.uint8)
    came[0, :, :4], came[1, :, 4:] = 200, 200
    faint = came // 5  # a shade of what came
    assert benchmark_module.images_follow_actions(faint, came)
    assert not benchmark_module.images_follow_actions(faint[::-1], came)
    assert not benchmark_module.images_follow_actions(faint[[0, 0]], came)
    assert benchmark_module.images_follow_actions(faint, came[[0, 0]]) is None
