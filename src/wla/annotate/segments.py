"""Segments of consecutive frames with the same subtask, the form in which labels are proposed and corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from wla.data.lerobot.reader import Episode, LeRobotDataset


@dataclass(frozen=True, order=True)
class Segment:
    """One subtask of an episode.

    Attributes:
        episode: index of the episode.
        first: first frame within the episode, counted from 0.
        last: last frame, which belongs to the segment.
        text: of the subtask.
    """

    episode: int
    first: int
    last: int
    text: str


def validate_segments(
    segments: Sequence[Segment], episodes: Sequence[Episode], locations: Sequence[str], hint: str
) -> list[Segment]:
    """Checks and sorts segments and normalizes the white space of their texts. Frames may be without a segment.

    Args:
        segments: segments in any order.
        episodes: episodes of the dataset.
        locations: location of each segment in its source, for error messages.
        hint: advice for the user, for error messages.

    Raises:
        ValueError: an episode is not in the dataset, frames are outside of the episode, a text is empty, or two
            segments overlap.
    """
    checked = []
    for segment, location in zip(segments, locations, strict=True):
        text = " ".join(segment.text.split())
        if not 0 <= segment.episode < len(episodes):
            raise ValueError(
                f"{location}: episode {segment.episode} is not in the dataset, it has 0 .. {len(episodes) - 1}; {hint}"
            )
        length = len(episodes[segment.episode])
        if not 0 <= segment.first <= segment.last < length:
            raise ValueError(
                f"{location}: frames {segment.first} .. {segment.last} of episode {segment.episode}, which has 0 .. "
                f"{length - 1}; {hint}"
            )
        if not text:
            raise ValueError(f"{location}: the text is empty; {hint}, or leave its frames out")
        checked.append((Segment(segment.episode, segment.first, segment.last, text), location))
    checked.sort(key=lambda pair: pair[0])
    for (before, location), (after, after_location) in pairwise(checked):
        if before.episode == after.episode and after.first <= before.last:
            raise ValueError(
                f"{after_location}: frames {after.first} .. {after.last} of episode {after.episode} overlap "
                f"{before.first} .. {before.last} ({location}); {hint}"
            )
    return [segment for segment, _ in checked]


def segments_of(dataset: LeRobotDataset) -> list[Segment]:
    """Returns the labels of a dataset; none for one without labels."""
    if dataset.subtasks is None:
        return []
    texts = [dataset.subtask_texts[index] if index >= 0 else "" for index in dataset.subtasks]
    return [
        s
        for episode in dataset.episodes
        for s in segments_from_texts(episode.index, texts[episode.start : episode.end])
    ]


def segments_from_texts(episode: int, texts: Sequence[str]) -> list[Segment]:
    """Returns the segments of an episode, given the text of each frame ('' for none)."""
    runs = [(text, list(frames)) for text, frames in groupby(range(len(texts)), key=lambda frame: texts[frame])]
    return [Segment(episode, frames[0], frames[-1], text) for text, frames in runs if text]


def frame_texts(segments: Sequence[Segment], episodes: Sequence[Episode]) -> list[str]:
    """Returns the text of every frame of a dataset, '' for frames without a segment."""
    texts = [""] * (episodes[-1].end if episodes else 0)
    for segment in segments:
        start = episodes[segment.episode].start
        texts[start + segment.first : start + segment.last + 1] = [segment.text] * (segment.last - segment.first + 1)
    return texts
