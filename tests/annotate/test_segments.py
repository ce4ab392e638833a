"""Validation of segments, and conversion between segments and frames."""

from __future__ import annotations

import pytest

from wla.annotate.segments import Segment, frame_texts, segments_from_texts, validate_segments
from wla.data.lerobot.reader import Episode

EPISODES = (Episode(0, 0, 5, "a"), Episode(1, 5, 9, "b"))


def check(*segments: Segment) -> list[Segment]:
    return validate_segments(segments, EPISODES, [f"line {i}" for i in range(len(segments))], "correct it")


def test_segments_are_sorted_and_their_white_space_is_normalized():
    assert check(Segment(1, 0, 3, " b \n c "), Segment(0, 3, 4, "y"), Segment(0, 0, 2, "x")) == [
        Segment(0, 0, 2, "x"),
        Segment(0, 3, 4, "y"),
        Segment(1, 0, 3, "b c"),
    ]


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (Segment(2, 0, 0, "x"), r"line 1: episode 2 is not in the dataset, it has 0 \.\. 1; correct it"),
        (Segment(-1, 0, 0, "x"), "episode -1 is not in the dataset"),
        (Segment(1, 0, 4, "x"), r"line 1: frames 0 \.\. 4 of episode 1, which has 0 \.\. 3; correct it"),
        (Segment(1, -1, 2, "x"), r"frames -1 \.\. 2"),
        (Segment(1, 3, 2, "x"), r"frames 3 \.\. 2"),
        (Segment(1, 0, 2, " \t"), "line 1: the text is empty"),
        (Segment(0, 1, 2, "x"), r"line 0: frames 2 \.\. 4 of episode 0 overlap 1 \.\. 2 \(line 1\); correct it"),
    ],
)
def test_invalid_segments_are_refused(segment, message):
    with pytest.raises(ValueError, match=message):
        check(Segment(0, 2, 4, "first"), segment)


def test_frames_outside_of_segments_have_no_text_and_segments_survive_a_round_trip():
    segments = [Segment(0, 1, 2, "x"), Segment(0, 3, 3, "y"), Segment(1, 0, 3, "x")]
    texts = frame_texts(segments, EPISODES)
    assert texts == ["", "x", "x", "y", "", "x", "x", "x", "x"]
    assert [*segments_from_texts(0, texts[:5]), *segments_from_texts(1, texts[5:])] == segments
