"""Agreement of proposed subtask labels with the labels of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wla.annotate.segments import Segment, frame_texts
from wla.data.lerobot.reader import LeRobotDataset

BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class Agreement:
    """Fraction of frames whose proposed text equals the dataset's label exactly. Frames without a label do not count.

    Attributes:
        task: name of the task, or "all".
        episodes: number of episodes with labels.
        frames: number of frames with a label.
        correct: number of frames with equal texts.
        interval: 95 % bootstrap interval of the fraction, resampling episodes because frames of one episode are not
            independent.
    """

    task: str
    episodes: int
    frames: int
    correct: int
    interval: tuple[float, float]

    @property
    def fraction(self) -> float:
        return self.correct / self.frames

    def __str__(self) -> str:
        low, high = (f"{100 * value:.1f}" for value in self.interval)
        rate = f"{100 * self.fraction:.1f} % ({self.correct}/{self.frames}; {low} .. {high})"
        return f"{self.task}: {rate} of the frames agree, {self.episodes} episodes"


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
    table = np.array(counts)
    correct, frames = table.sum(0)
    resampled = np.random.default_rng(0).integers(0, len(table), (BOOTSTRAP_SAMPLES, len(table)))
    sums = table[resampled].sum(1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return Agreement(task, len(table), int(frames), int(correct), (float(low), float(high)))
