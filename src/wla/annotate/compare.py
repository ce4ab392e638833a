"""How far proposed subtasks agree with those that a dataset has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wla.annotate.segments import Segment, frame_texts
from wla.data.lerobot.reader import LeRobotDataset

BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class Agreement:
    """Share of the frames whose text is the dataset's own, letter by letter. Frames without a label do not count.

    interval: 95 %, by drawing the episodes again (frames of an episode are not independent).
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
        share = f"{100 * self.fraction:.1f} % ({self.correct}/{self.frames}; {low} .. {high})"
        return f"{self.task}: {share} of the frames right, {self.episodes} episodes"


def compare(dataset: LeRobotDataset, segments: Sequence[Segment], task_of: Callable[[str], str]) -> list[Agreement]:
    """One entry for each task and one for all together. task_of: the task of an instruction.

    ValueError when the dataset has no labels to compare with.
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
            right = sum(real == text for real, text in pairs)
            counts.setdefault(task_of(episode.instruction), []).append((right, len(pairs)))
    groups = [*sorted(counts.items()), ("all", [count for part in counts.values() for count in part])]
    return [_agreement(task, part) for task, part in groups]


def _agreement(task: str, counts: Sequence[tuple[int, int]]) -> Agreement:
    table = np.array(counts)
    right, frames = table.sum(0)
    drawn = np.random.default_rng(0).integers(0, len(table), (BOOTSTRAP_SAMPLES, len(table)))
    sums = table[drawn].sum(1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return Agreement(task, len(table), int(frames), int(right), (float(low), float(high)))
