from __future__ import annotations

import re

import numpy as np
import pytest

from wla.envs.tabletop.tasks import TASKS, load_task
from wla.envs.tabletop.tasks.base import Task


def words(templates: tuple[str, ...]) -> set[str]:
    return {word for template in templates for word in re.findall(r"[a-z]+|\{[a-z]+\}", template)}


@pytest.mark.parametrize("task", [load_task(name) for name in TASKS], ids=TASKS)
def test_unseen_phrasings_recombine_seen_words_into_something_new(task: type[Task]) -> None:
    seen, unseen = task.phrasings.train, task.phrasings.test
    assert words(unseen) <= words(seen)
    assert not set(seen) & set(unseen)
    assert len(set(seen)) == len(seen) >= 10
    assert len(set(unseen)) == len(unseen) >= 4


@pytest.mark.parametrize("task", [load_task(name) for name in TASKS], ids=TASKS)
def test_every_phrasing_names_all_that_is_needed(task: type[Task]) -> None:
    fields = set(task.sample(np.random.default_rng(0)).template_values)
    for template in (*task.phrasings.train, *task.phrasings.test):
        assert set(re.findall(r"\{(\w+)\}", template)) == fields


@pytest.mark.parametrize("task", [load_task(name) for name in TASKS], ids=TASKS)
def test_the_seed_decides_which_phrasings_are_used(task: type[Task]) -> None:
    fields = task.sample(np.random.default_rng(0)).template_values

    def said(seed: int | None) -> str:
        return task.phrasings.choose(np.random.default_rng(seed), seed, fields)

    seen = {template.format(**fields) for template in task.phrasings.train}
    unseen = {template.format(**fields) for template in task.phrasings.test}
    assert {said(seed) for seed in (None, *range(200), *range(10_000, 10_200))} == seen
    assert {said(seed) for seed in range(100_000, 100_200)} == unseen
