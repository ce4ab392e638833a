"""Agreement of proposed labels with a dataset's."""

from __future__ import annotations

import pytest
import tiny

from wla.annotate.compare import compare
from wla.annotate.segments import Segment, segments_of
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.relabel import relabel


def test_frames_are_counted_for_each_task_and_in_total(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "d"))
    segments = segments_of(dataset)
    assert [agreement.fraction for agreement in compare(dataset, segments, str.upper)] == [1.0, 1.0, 1.0]
    first_episode = [segment for segment in segments if segment.episode == 0]
    proposed = [*first_episode, Segment(1, 0, 9, tiny.SUBTASKS[0])]
    bowl, button, total = compare(dataset, proposed, lambda instruction: instruction.split()[-1])
    assert (bowl.correct, bowl.frames, bowl.episodes) == (10, 10, 1)
    assert (button.correct, button.frames) == (5, 10)
    assert (total.correct, total.frames, total.interval.n) == (15, 20, 2)
    assert total.interval.high - total.interval.low > 0.9  # two episodes that differ say nearly nothing
    assert str(total) == (
        "all: 75.0 % (15/20) of the frames agree, 95 % interval 3.1 .. 100.0 by episode, n = 2 episodes"
    )


def test_frames_without_a_label_do_not_count(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "d"))
    relabel(dataset, [*["a"] * 3, *[""] * 17])
    relabelled = LeRobotDataset(dataset.root)
    agreements = compare(relabelled, [Segment(0, 0, 9, "a")], str.upper)
    assert [(agreement.correct, agreement.frames) for agreement in agreements] == [(3, 3), (3, 3)]


def test_a_dataset_without_labels_is_an_error(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "d"))
    relabel(dataset, [""] * 20)
    with pytest.raises(ValueError, match="has no subtasks to compare with"):
        compare(LeRobotDataset(dataset.root), [], str.upper)
