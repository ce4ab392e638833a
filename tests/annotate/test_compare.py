"""Shares of frames that agree."""

from __future__ import annotations

import pytest
import tiny

from wla.annotate.compare import compare
from wla.annotate.segments import Segment, segments_of
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.relabel import relabel


def test_frames_are_counted_per_task_and_together(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "d"))
    found = segments_of(dataset)
    assert [agreement.fraction for agreement in compare(dataset, found, str.upper)] == [1.0, 1.0, 1.0]
    half = [segment for segment in found if segment.episode == 0]
    wrong = [*half, Segment(1, 0, 9, tiny.SUBTASKS[0])]
    bowl, button, together = compare(dataset, wrong, lambda words: words.split()[-1])
    assert (bowl.correct, bowl.frames, bowl.episodes) == (10, 10, 1)
    assert (button.correct, button.frames) == (5, 10)
    assert (together.correct, together.frames, together.interval) == (15, 20, (0.5, 1.0))
    assert str(together) == "all: 75.0 % (15/20; 50.0 .. 100.0) of the frames right, 2 episodes"


def test_frames_without_a_label_do_not_count(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "d"))
    relabel(dataset, [*["a"] * 3, *[""] * 17])
    after = LeRobotDataset(dataset.root)
    assert [(a.correct, a.frames) for a in compare(after, [Segment(0, 0, 9, "a")], str.upper)] == [(3, 3), (3, 3)]


def test_nothing_to_compare_with(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "d"))
    relabel(dataset, [""] * 20)
    with pytest.raises(ValueError, match="has no subtasks to compare with"):
        compare(LeRobotDataset(dataset.root), [], str.upper)
