"""Agreement of proposed subtask labels with the labels of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wla.annotate.segments import Segment, frame_texts
from wla.data.lerobot.reader import LeRobotDataset
from wla.intervals import FRACTION, Interval, mean_by_episode


@dataclass(frozen=True)
class Agreement:
    """Fraction of frames whose proposed text equals the dataset's label exactly. Frames without a label do not count.

    Attributes:
        task: name of the task, or "all".
        episodes: number of episodes with labels.
        frames: number of frames with a label.
        correct: number of frames with equal texts.
        interval: 95 % interval of the fraction, by episode because frames of one episode are not independent.
    """

    task: str
    episodes: int
    frames: int
    correct: int
    interval: Interval

    @property
    def fraction(self) -> float:
        return self.correct / self.frames

    def __str__(self) -> str:
        rate = f"{100 * self.fraction:.1f} % ({self.correct}/{self.frames})"
        interval = f"95 % interval {self.interval.bounds()} {self.interval.label}"
        return f"{self.task}: {rate} of the frames agree, {interval}"


def compare(dataset: LeRobotDataset, segments: Sequence[Segment], task_of: Callable[[str], str]) -> list[Agreement]:
    """Compares proposed segments with the labels of a dataset.

    Args:
        dataset: dataset with labels.
        segments: proposed labels.
        task_of: returns the name of the task of an instruction.

    Returns:
        One entry for each task, and one for all of them.

    Raises:
        ValueError: the dataset has no labels.
    """
    if dataset.subtasks is None:
        raise ValueError(f"{dataset.root}: has no subtasks to compare with; use a dataset that has some")
    proposed = frame_texts(segments, dataset.episodes)
    counts: dict[str, list[tuple[int, int]]] = {}
    for episode in dataset.episodes:
        pairs = [
            (dataset.subtask_texts[index], text)
            for index, text in zip(
                dataset.subtasks[episode.start : episode.end], proposed[episode.start : episode.end], strict=True
            )
            if index >= 0
        ]
        if pairs:
            correct = sum(label == text for label, text in pairs)
            counts.setdefault(task_of(episode.instruction), []).append((correct, len(pairs)))
    groups = [*sorted(counts.items()), ("all", [count for part in counts.values() for count in part])]
    return [_agreement(task, part) for task, part in groups]


def _agreement(task: str, counts: Sequence[tuple[int, int]]) -> Agreement:
    correct, frames = zip(*counts, strict=True)
    interval = mean_by_episode(correct, frames, limits=FRACTION)
    assert interval is not None, "every episode here has labels"
    return Agreement(task, len(counts), sum(frames), sum(correct), interval)
