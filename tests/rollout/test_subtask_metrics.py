from __future__ import annotations

import pytest

from wla.rollout.subtask_metrics import SubtaskMetrics, subtask_rates
from wla.types import MemoryItem

TRUTH = ["a"] * 4 + ["b"] * 4 + ["c"] * 4


def heard(calls: list[tuple[int, tuple[str, ...], tuple[str, ...]]], truth: list[str | None] = TRUTH) -> SubtaskMetrics:
    """calls: step, window, memory after it; horizon 4."""
    words = SubtaskMetrics()
    for subtask in truth:
        words.add_label(subtask)
    for step, window, memory in calls:
        words.add_prediction(step, window, 4, [MemoryItem(text, 0, 0) for text in memory])
    return words


RIGHT = [(0, ("a", "b"), ()), (4, ("b", "c"), ("a",)), (8, ("c",), ("a", "b"))]


def test_right_words_are_right_in_all_respects():
    words = heard(RIGHT)
    score = words.score()
    assert (score.windows, score.exact, score.repeats) == (3, 3, 0)
    assert (score.transitions, score.boundary_error_steps, score.missed_transitions) == (2, 0, 0)
    assert score.memory_correct
    assert words.memory == [(4, "a"), (8, "b")]


def test_a_window_counts_up_to_its_last_step_and_to_the_end_of_the_episode():
    assert heard([(0, ("a",), ())]).score().exact == 0  # step 4 is b
    assert heard([(3, ("a", "b"), ())]).score().exact == 1
    assert heard([(10, ("c",), ())]).score().exact == 1


def test_borders_that_come_late_or_never():
    score = heard([(0, ("a",), ()), (6, ("b",), ("a",)), (10, ("x",), ("a", "b"))]).score()
    assert (score.transitions, score.boundary_error_steps, score.missed_transitions) == (1, 2, 1)


@pytest.mark.parametrize("memory", [(), ("b",), ("b", "a"), ("a", "b", "c"), ("a", "x")])
def test_a_memory_that_differs_is_wrong(memory):
    assert not heard([*RIGHT[:2], (8, ("c",), memory)]).score().memory_correct


def test_numbers_go_on_in_what_is_compared_too():
    truth = ["press 1 of 2"] * 2 + ["let go"] * 2 + ["press 2 of 2"] * 2 + ["let go"] * 2 + ["confirm"]
    words = heard([(8, ("confirm",), ("press 2 of 2", "let go"))], truth)
    assert words.score().memory_correct


def test_nothing_to_compare_is_no_score():
    assert heard(RIGHT, [None] * 12).score() is None
    assert heard([(0, (), ())]).score() is None
    assert subtask_rates([]) is None


def test_the_same_window_again_is_what_a_draft_finds():
    assert heard([(0, ("a",), ()), (1, ("a",), ()), (2, ("a", "b"), ())]).score().repeats == 1
