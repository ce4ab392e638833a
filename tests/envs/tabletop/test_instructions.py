from __future__ import annotations

import re

import numpy as np
import pytest

from wla.envs.tabletop.tasks import TASKS, load_task
from wla.envs.tabletop.tasks.base import Task


def vocabulary(templates: tuple[str, ...]) -> set[str]:
    return {word for template in templates for word in re.findall(r"[a-z]+|\{[a-z]+\}", template)}


@pytest.mark.parametrize("task", [load_task(name) for name in TASKS], ids=TASKS)
def test_test_templates_are_new_combinations_of_training_words(task: type[Task]) -> None:
    train, test = task.phrasings.train, task.phrasings.test
    assert vocabulary(test) <= vocabulary(train)
    assert not set(train) & set(test)
    assert len(set(train)) == len(train) >= 10
    assert len(set(test)) == len(test) >= 4


@pytest.mark.parametrize("task", [load_task(name) for name in TASKS], ids=TASKS)
def test_every_template_has_all_fields_of_its_task(task: type[Task]) -> None:
    fields = set(task.sample(np.random.default_rng(0)).template_values)
    for template in (*task.phrasings.train, *task.phrasings.test):
        assert set(re.findall(r"\{(\w+)\}", template)) == fields


@pytest.mark.parametrize("task", [load_task(name) for name in TASKS], ids=TASKS)
def test_the_seed_selects_training_or_test_templates(task: type[Task]) -> None:
    fields = task.sample(np.random.default_rng(0)).template_values

    def instruction(seed: int | None) -> str:
        return task.phrasings.choose(np.random.default_rng(seed), seed, fields)

    train = {template.format(**fields) for template in task.phrasings.train}
    test = {template.format(**fields) for template in task.phrasings.test}
    assert {instruction(seed) for seed in (None, *range(200), *range(10_000, 10_200))} == train
    assert {instruction(seed) for seed in range(100_000, 100_200)} == test
