from __future__ import annotations

import itertools

import numpy as np
import pytest

from wla.envs.tabletop.parts import Part
from wla.envs.tabletop.scatter import Spot, scatter
from wla.envs.tabletop.tasks import TASKS, Task
from wla.envs.tabletop.tasks.common import random_clutter


def test_circles_keep_apart_inside_their_boxes() -> None:
    spots = [Spot(0.07, x=0.1, y=0.05, centre=(0.05, 0.0)), *[Spot(0.045)] * 4]
    for seed in range(50):
        points = scatter(np.random.default_rng(seed), spots)
        for (a, at_a), (b, at_b) in itertools.combinations(zip(spots, points, strict=True), 2):
            assert np.hypot(at_a[0] - at_b[0], at_a[1] - at_b[1]) > a.radius + b.radius
        for spot, (x, y) in zip(spots, points, strict=True):
            assert abs(x - spot.centre[0]) <= spot.x
            assert abs(y - spot.centre[1]) <= spot.y


def test_asking_for_more_than_fits_is_a_bug_with_a_name() -> None:
    with pytest.raises(AssertionError, match="no room for 9 objects"):
        scatter(np.random.default_rng(0), [Spot(0.1)] * 9, tries=2)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_nothing_overlaps_at_the_start(task: type[Task]) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        parts = task.sample(rng).parts
        everything: tuple[Part, ...] = (*parts, *random_clutter(rng, parts, task.clutter))
        for a, b in itertools.combinations(everything, 2):
            if a.radius and b.radius:  # zones are paint
                assert np.hypot(a.x - b.x, a.y - b.y) > 0.056, f"{a} and {b}, seed {seed}"
