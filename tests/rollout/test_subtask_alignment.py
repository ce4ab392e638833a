from __future__ import annotations

import pytest

from wla.rollout.subtask_alignment import Segment, align, mark_optional


def sequence(text: str) -> list[Segment]:
    """Letters are subtasks of 4 steps each; small ones are optional ones of the same name."""
    return [Segment(letter.upper(), 4 * i, 4 * i + 4, letter.islower()) for i, letter in enumerate(text)]


@pytest.mark.parametrize(
    ("predicted", "reference", "edits", "length"),
    [
        ("ABC", "ABC", 0, 3),
        ("AXC", "ABC", 1, 3),
        ("AC", "ABC", 1, 3),
        ("ABXC", "ABC", 1, 4),
        ("CBA", "ABC", 2, 3),
        ("ABABAB", "AB", 4, 6),
        ("AgC", "AC", 0, 2),
        ("AC", "AgC", 0, 2),
        ("AgC", "AGC", 0, 3),
        ("AxC", "ABC", 1, 3),
        ("", "AB", 2, 2),
        ("", "", 0, 1),
    ],
)
def test_edits_between_sequences(predicted, reference, edits, length):
    found = align(sequence(predicted), sequence(reference))
    assert (found.edits, found.length) == (edits, length)
    assert found.edits <= found.length


def test_of_equal_alignments_the_closest_in_time_is_chosen():
    predicted = [Segment("a", 20, 24)]
    reference = [Segment("a", 0, 4), Segment("a", 19, 23)]
    assert align(predicted, reference).pairs == ((0, 1),)


def test_pairs_are_in_order():
    assert align(sequence("ABC"), sequence("ABC")).pairs == ((0, 0), (1, 1), (2, 2))
    assert align(sequence("AgC"), sequence("AC")).pairs == ((0, 0), (2, 1))


def test_what_only_a_brief_subtask_interrupted_need_not_appear_twice():
    segments = [Segment("a", 0, 9), Segment("x", 9, 10), Segment("a", 10, 20), Segment("b", 20, 30)]
    marked = mark_optional(segments, [False, True, False, False])
    assert [segment.optional for segment in marked] == [False, True, True, False]
    assert align(marked, [Segment("a", 0, 20), Segment("b", 20, 30)]).edits == 0
