from __future__ import annotations

import numpy as np
import pytest

from wla.data.memory import MemoryAugmentation, MemoryConfig, num_completed, prune_memory, update_memory
from wla.types import MemoryItem


def keep(items: list[str], **config: object) -> tuple[str, ...]:
    return prune_memory(items, MemoryConfig(**config), str, lambda text: len(text.split()))


def test_an_item_said_again_stands_once_at_its_last_place():
    assert keep(["a", "b", "a", "c"]) == ("b", "a", "c")
    assert keep(["a", "a"]) == ("a",)
    assert keep([]) == ()


def test_numbers_go_on():
    said = ["press 1 of 3", "let go", "press 2 of 3", "let go"]
    assert keep(said) == ("press 2 of 3", "let go")
    assert keep(said, merge_counters=False) == ("press 1 of 3", "press 2 of 3", "let go")


def test_the_oldest_are_dropped_where_the_budget_ends():
    said = ["one two three", "four five", "six"]
    assert keep(said, tokens=6) == tuple(said)
    assert keep(said, tokens=5) == ("four five", "six")
    assert keep(said, tokens=2) == ("six",)  # nothing older stands in for what had no room
    assert keep(["one two three"], tokens=2) == ()


def test_ten_times_the_budget_leaves_the_latest_within_it():
    letters = [chr(ord("a") + i // 26) + chr(ord("a") + i % 26) for i in range(500)]
    said = [f"reach the {letter} block" for letter in letters]  # 2000 tokens
    told = keep(said, tokens=200)
    assert told == tuple(said[-50:])
    grown: tuple[str, ...] = ()
    for text in said:
        grown = keep([*grown, text], tokens=200)
    assert grown == told  # kept step by step or at once


@pytest.mark.parametrize(
    ("before", "now", "over"),
    [
        ((), ("a",), 0),
        (("a",), (), 0),
        (("a", "b"), ("a",), 0),
        (("a", "b"), ("b", "c"), 1),
        (("a", "b", "c"), ("c",), 2),
        (("a", "b"), ("x",), 1),  # not foreseen: only the running one is over
    ],
)
def test_what_is_before_the_running_subtask_is_finished(before, now, over):
    assert num_completed(before, now) == over


def test_finished_items_carry_their_steps_and_running_ones_stay_out():
    memory, began = update_memory((), (), 0, ("a", "b"), 0)
    assert (memory, began) == ((), 0)
    memory, began = update_memory(memory, ("a", "b"), began, ("a", "b"), 4)
    assert (memory, began) == ((), 0)
    memory, began = update_memory(memory, ("a", "b"), began, ("b", "c", "d"), 8)
    assert (memory, began) == ((MemoryItem("a", 0, 8),), 8)
    memory, began = update_memory(memory, ("b", "c", "d"), began, ("d",), 12)
    assert memory == (MemoryItem("a", 0, 8), MemoryItem("b", 8, 10), MemoryItem("c", 10, 12))
    assert began == 12


def test_windows_of_labels_build_the_memory_that_training_tells():
    """Acting with the right words, training on recordings: the same items, whenever the policy acts."""
    labels = np.repeat(["a", "b", "a", "c", "d"], [5, 7, 6, 9, 4])
    for gap in (1, 3, 4):
        memory: tuple[MemoryItem, ...] = ()
        before: tuple[str, ...] = ()
        began = 0
        for now in range(0, len(labels), gap):
            window = tuple(dict.fromkeys(labels[now : now + 8]))
            memory, began = update_memory(memory, before, began, window, now)
            chain = [text for i, text in enumerate(labels[: now + 1]) if i == 0 or labels[i - 1] != text]
            assert [item.text for item in memory] == chain[:-1]
            before = window


def test_errors_are_as_frequent_as_asked_and_keep_what_they_do_not_touch():
    rng = np.random.default_rng(0)
    items = ["a", "b", "c"]
    errors = MemoryAugmentation(item_dropout=0.2, item_duplication=0.1)
    spoiled = [errors.corrupt(items, rng) for _ in range(4000)]
    assert 0.17 < np.mean([len(set(one)) < 3 for one in spoiled]) < 0.23
    assert 0.07 < np.mean([len(one) > len(set(one)) for one in spoiled]) < 0.13
    assert all(set(one) <= set(items) for one in spoiled)
    assert items == ["a", "b", "c"]
    assert errors.corrupt([], rng) == []


@pytest.mark.parametrize("lag", [(0, 4), (5, 3)])
def test_a_lag_that_cannot_be_is_refused(lag):
    with pytest.raises(ValueError, match="staleness"):
        MemoryAugmentation(staleness=lag)
