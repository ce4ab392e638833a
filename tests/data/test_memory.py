from __future__ import annotations

import numpy as np
import pytest

from wla.data.memory import MemoryAugmentation, MemoryConfig, num_completed, prune_memory, update_memory
from wla.types import MemoryItem


def keep(items: list[str], **config: object) -> tuple[str, ...]:
    return prune_memory(items, MemoryConfig(**config), str, lambda text: len(text.split()))


def test_a_repeated_item_is_kept_once_at_its_last_position():
    assert keep(["a", "b", "a", "c"]) == ("b", "a", "c")
    assert keep(["a", "a"]) == ("a",)
    assert keep([]) == ()


def test_items_that_differ_only_in_numbers_are_repetitions():
    predicted = ["press 1 of 3", "let go", "press 2 of 3", "let go"]
    assert keep(predicted) == ("press 2 of 3", "let go")
    assert keep(predicted, merge_counters=False) == ("press 1 of 3", "press 2 of 3", "let go")


def test_the_oldest_items_over_the_budget_are_dropped():
    items = ["one two three", "four five", "six"]
    assert keep(items, tokens=6) == tuple(items)
    assert keep(items, tokens=5) == ("four five", "six")
    assert keep(items, tokens=2) == ("six",)  # no older item fills the remaining budget
    assert keep(["one two three"], tokens=2) == ()


def test_of_ten_times_the_budget_the_latest_items_within_it_are_kept():
    letters = [chr(ord("a") + i // 26) + chr(ord("a") + i % 26) for i in range(500)]
    items = [f"reach the {letter} block" for letter in letters]  # 2000 tokens
    at_once = keep(items, tokens=200)
    assert at_once == tuple(items[-50:])
    step_by_step: tuple[str, ...] = ()
    for text in items:
        step_by_step = keep([*step_by_step, text], tokens=200)
    assert step_by_step == at_once


@pytest.mark.parametrize(
    ("before", "now", "completed"),
    [
        ((), ("a",), 0),
        (("a",), (), 0),
        (("a", "b"), ("a",), 0),
        (("a", "b"), ("b", "c"), 1),
        (("a", "b", "c"), ("c",), 2),
        (("a", "b"), ("x",), 1),  # not predicted before: only the first one is finished
    ],
)
def test_subtasks_before_the_current_one_are_finished(before, now, completed):
    assert num_completed(before, now) == completed


def test_finished_items_have_their_steps_and_current_subtasks_are_not_in_memory():
    memory, start = update_memory((), (), 0, ("a", "b"), 0)
    assert (memory, start) == ((), 0)
    memory, start = update_memory(memory, ("a", "b"), start, ("a", "b"), 4)
    assert (memory, start) == ((), 0)
    memory, start = update_memory(memory, ("a", "b"), start, ("b", "c", "d"), 8)
    assert (memory, start) == ((MemoryItem("a", 0, 8),), 8)
    memory, start = update_memory(memory, ("b", "c", "d"), start, ("d",), 12)
    assert memory == (MemoryItem("a", 0, 8), MemoryItem("b", 8, 10), MemoryItem("c", 10, 12))
    assert start == 12


def test_correct_predictions_build_the_memory_of_training_prompts():
    """A policy that predicts the labels has the items of the labels in memory, at any interval between its calls."""
    labels = np.repeat(["a", "b", "a", "c", "d"], [5, 7, 6, 9, 4])
    for gap in (1, 3, 4):
        memory: tuple[MemoryItem, ...] = ()
        before: tuple[str, ...] = ()
        start = 0
        for now in range(0, len(labels), gap):
            window = tuple(dict.fromkeys(labels[now : now + 8]))
            memory, start = update_memory(memory, before, start, window, now)
            chain = [text for i, text in enumerate(labels[: now + 1]) if i == 0 or labels[i - 1] != text]
            assert [item.text for item in memory] == chain[:-1]
            before = window


def test_memory_errors_have_the_configured_frequency_and_keep_all_other_items():
    rng = np.random.default_rng(0)
    items = ["a", "b", "c"]
    errors = MemoryAugmentation(item_dropout=0.2, item_duplication=0.1)
    corrupted = [errors.corrupt(items, rng) for _ in range(4000)]
    assert 0.17 < np.mean([len(set(one)) < 3 for one in corrupted]) < 0.23
    assert 0.07 < np.mean([len(one) > len(set(one)) for one in corrupted]) < 0.13
    assert all(set(one) <= set(items) for one in corrupted)
    assert items == ["a", "b", "c"]
    assert errors.corrupt([], rng) == []


@pytest.mark.parametrize("staleness", [(0, 4), (5, 3)])
def test_an_impossible_staleness_is_refused(staleness):
    with pytest.raises(ValueError, match="staleness"):
        MemoryAugmentation(staleness=staleness)
