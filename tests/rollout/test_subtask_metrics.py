from __future__ import annotations

import pytest

from wla.rollout.subtask_metrics import SubtaskMetrics
from wla.types import MemoryItem

TRUTH = ["a"] * 4 + ["b"] * 4 + ["c"] * 4


def heard(calls: list[tuple[int, tuple[str, ...], tuple[str, ...]]], truth: list[str | None] = TRUTH) -> SubtaskMetrics:
    """calls: step, window, memory after it; horizon 4."""
    words = SubtaskMetrics(tolerance=5)
    for subtask in truth:
        words.add_label(subtask)
    started = {window[0]: step for step, window, _ in reversed(calls) if window}
    items: dict[tuple[str, int], MemoryItem] = {}
    for step, window, memory in calls:
        names = [(text, memory[:index].count(text)) for index, text in enumerate(memory)]
        for text, count in names:
            items.setdefault((text, count), MemoryItem(text, started.get(text, step), step))
        words.add_prediction(step, window, 4, [items[name] for name in names])
    return words


RIGHT = [(0, ("a", "b"), ()), (4, ("b", "c"), ("a",)), (8, ("c",), ("a", "b"))]


def test_right_words_are_right_in_all_respects():
    words = heard(RIGHT)
    score = words.score()
    assert (score.windows, score.exact, score.repeats) == (3, 3, 0)
    assert (score.transitions, score.boundary_error_steps, score.missed_transitions) == (2, 0, 0)
    assert (score.current, score.edits, score.edit_length) == (3, 0, 2)  # c has just begun
    assert (score.timely_transitions, score.predicted_transitions) == (2, 2)
    assert score.memory_correct
    assert score.memory_strict
    assert [(step, item.text) for step, item in words.memory] == [(4, "a"), (8, "b")]


def test_a_window_counts_up_to_its_last_step_and_to_the_end_of_the_episode():
    assert heard([(0, ("a",), ())]).score().exact == 0  # step 4 is b
    assert heard([(3, ("a", "b"), ())]).score().exact == 1
    assert heard([(10, ("c",), ())]).score().exact == 1


def test_borders_that_come_late_or_never():
    score = heard([(0, ("a",), ()), (6, ("b",), ("a",)), (10, ("x",), ("a", "b")), (11, ("x",), ("a", "b"))]).score()
    assert (score.transitions, score.boundary_error_steps, score.missed_transitions) == (1, 2, 1)


@pytest.mark.parametrize("memory", [(), ("b",), ("b", "a"), ("a", "b", "c"), ("a", "x")])
def test_a_memory_that_differs_is_wrong(memory):
    assert not heard([*RIGHT[:2], (8, ("c",), memory)]).score().memory_strict


def test_numbers_go_on_in_what_is_compared_too():
    truth = ["press 1 of 2"] * 2 + ["let go"] * 2 + ["press 2 of 2"] * 2 + ["let go"] * 2 + ["confirm"]
    words = heard([(8, ("confirm",), ("press 2 of 2", "let go"))], truth)
    assert words.score().memory_strict


def test_nothing_to_compare_is_no_score():
    assert heard(RIGHT, [None] * 12).score() is None
    assert heard([(0, (), ())]).score() is None


def test_the_same_window_again_is_what_a_draft_finds():
    assert heard([(0, ("a",), ()), (1, ("a",), ()), (2, ("a", "b"), ())]).score().repeats == 1


PLACE = ["reach"] * 10 + ["move"] * 8 + ["release"] * 6
"""An episode in which the expert would have skipped the grasp."""
GRASPING = [
    (0, ("reach",), ()),
    (4, ("reach", "grasp", "move"), ()),
    (8, ("reach", "grasp", "move"), ()),
    (12, ("move", "release"), ("reach", "grasp")),
    (16, ("move", "release"), ("reach", "grasp")),
    (20, ("release",), ("reach", "grasp", "move")),
]


def test_a_perfect_episode_with_a_short_grasp_is_right_except_strictly():
    score = heard(GRASPING, PLACE).score()
    assert (score.current, score.windows, score.edits) == (6, 6, 0)
    assert score.timely_transitions == score.predicted_transitions == score.transitions + score.missed_transitions
    assert score.memory_correct
    assert not score.memory_strict


def test_the_grasp_may_also_be_the_experts_alone():
    labels = [*PLACE[:10], "grasp", *PLACE[11:]]
    calls = [(step, tuple(t for t in window if t != "grasp"), tuple(m for m in memory if m != "grasp"))
             for step, window, memory in GRASPING]  # fmt: skip
    score = heard(calls, labels).score()
    assert score.edits == 0
    assert score.memory_correct
    assert not score.memory_strict


def test_a_press_that_the_expert_does_not_see_is_a_moment_within_another_subtask():
    labels = ["press 1"] * 8 + ["let go"] * 12 + ["confirm"] * 8
    calls = [
        (0, ("press 1",), ()),
        (4, ("press 1",), ()),
        (8, ("let go",), ("press 1",)),
        (12, ("press 2",), ("press 1", "let go")),
        (16, ("let go",), ("press 1", "let go", "press 2")),
        (20, ("confirm",), ("press 1", "let go", "press 2", "let go")),
        (24, ("confirm",), ("press 1", "let go", "press 2", "let go")),
    ]
    score = heard(calls, labels).score()
    assert (score.edits, score.current) == (0, 6)


@pytest.mark.parametrize(
    ("texts", "edits"),
    [
        ("aabbcc", 0),
        ("aaaaaa", 2),
        ("abbbcc", 0),
        ("aaxxcc", 1),
        ("aabbxx", 1),
        ("ccaabb", 2),
        ("aaccbb", 2),
    ],
)
def test_wrong_sequences_have_edits_however_long_their_subtasks_are(texts, edits):
    labels = ["a"] * 8 + ["b"] * 8 + ["c"] * 8
    calls = [(4 * i, (text,), ()) for i, text in enumerate(texts)]
    assert heard(calls, labels).score().edits == edits


def test_late_transitions_are_found_but_not_timely():
    labels = ["a"] * 8 + ["b"] * 24
    calls = [(step, ("a",) if step < 20 else ("b",), ()) for step in range(0, 32, 4)]
    score = heard(calls, labels).score()
    assert (score.edits, score.transitions, score.boundary_error_steps, score.timely_transitions) == (0, 1, 12, 0)
    within = SubtaskMetrics(tolerance=12)
    for label in labels:
        within.add_label(label)
    for step, window, _ in calls:
        within.add_prediction(step, window, 4, [])
    assert within.score().timely_transitions == 1


def test_items_over_the_budget_are_wrong_only_strictly():
    score = heard([*RIGHT[:2], (8, ("c",), ("b",))]).score()
    assert score.memory_correct
    assert not score.memory_strict


@pytest.mark.parametrize("texts", ["axcc", "bbcc", "aacc"])
def test_a_memory_of_other_subtasks_is_wrong(texts):
    labels = ["a"] * 4 + ["b"] * 4 + ["c"] * 16
    steps = (0, 4, 8, 16)
    calls = [
        (step, (text,), tuple(t for i, t in enumerate(texts[:index]) if t != texts[i + 1]))
        for index, (step, text) in enumerate(zip(steps, texts, strict=True))
    ]
    assert not heard(calls, labels).score().memory_correct


def test_an_empty_memory_is_wrong():
    assert not heard([(step, window, ()) for step, window, _ in [*RIGHT, (11, ("c",), ())]]).score().memory_correct
