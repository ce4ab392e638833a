from __future__ import annotations

import itertools

import numpy as np
import pytest

from wla.envs.tabletop.objects import TableObject
from wla.envs.tabletop.placement import PlacementRegion, placement
from wla.envs.tabletop.tasks import TASKS, load_task
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import random_clutter


def test_circles_do_not_overlap_and_centres_are_in_their_boxes() -> None:
    regions = [PlacementRegion(0.07, x=0.1, y=0.05, centre=(0.05, 0.0)), *[PlacementRegion(0.045)] * 4]
    for seed in range(50):
        points = placement(np.random.default_rng(seed), regions)
        for (a, point_a), (b, point_b) in itertools.combinations(zip(regions, points, strict=True), 2):
            assert np.hypot(point_a[0] - point_b[0], point_a[1] - point_b[1]) > a.radius + b.radius
        for region, (x, y) in zip(regions, points, strict=True):
            assert abs(x - region.centre[0]) <= region.x
            assert abs(y - region.centre[1]) <= region.y


def test_regions_that_do_not_fit_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="no room for 9 objects"):
        placement(np.random.default_rng(0), [PlacementRegion(0.1)] * 9, tries=2)


@pytest.mark.parametrize("task", [load_task(name) for name in TASKS], ids=TASKS)
def test_nothing_overlaps_at_the_start(task: type[Task]) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        objects = task.sample(rng).objects
        all_objects: tuple[TableObject, ...] = (*objects, *random_clutter(rng, objects, task.clutter))
        for a, b in itertools.combinations(all_objects, 2):
            if a.radius and b.radius:  # zones are painted on the table
                assert np.hypot(a.x - b.x, a.y - b.y) > 0.056, f"{a} and {b}, seed {seed}"
