"""Stretches of frames with one subtask each: the form in which labels are proposed, corrected and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from wla.data.lerobot.reader import Episode, LeRobotDataset


@dataclass(frozen=True, order=True)
class Segment:
    """A subtask of an episode. first and last are frames within the episode, counted from 0; both are part of it."""

    episode: int
    first: int
    last: int
    text: str


def validate_segments(
    segments: Sequence[Segment], episodes: Sequence[Episode], locations: Sequence[str], hint: str
) -> list[Segment]:
    """The segments in order, their texts without superfluous blanks. Frames that none of them covers have no subtask.

    places: where each segment is written, for messages; todo: what the user can do. ValueError for an episode that the
    dataset does not have, frames outside of it, an empty text, or two segments that share a frame.
    """
    found = []
    for segment, place in zip(segments, locations, strict=True):
        text = " ".join(segment.text.split())
        if not 0 <= segment.episode < len(episodes):
            raise ValueError(
                f"{place}: episode {segment.episode} is not in the dataset, it has 0 .. {len(episodes) - 1}; {hint}"
            )
        length = len(episodes[segment.episode])
        if not 0 <= segment.first <= segment.last < length:
            raise ValueError(
                f"{place}: frames {segment.first} .. {segment.last} of episode {segment.episode}, which has 0 .. "
                f"{length - 1}; {hint}"
            )
        if not text:
            raise ValueError(f"{place}: the text is empty; {hint}, or leave its frames out")
        found.append((Segment(segment.episode, segment.first, segment.last, text), place))
    found.sort(key=lambda pair: pair[0])
    for (before, place), (after, other) in pairwise(found):
        if before.episode == after.episode and after.first <= before.last:
            raise ValueError(
                f"{other}: frames {after.first} .. {after.last} of episode {after.episode} overlap {before.first} .. "
                f"{before.last} ({place}); {hint}"
            )
    return [segment for segment, _ in found]


def segments_of(dataset: LeRobotDataset) -> list[Segment]:
    """The labels that a dataset has."""
    if dataset.subtasks is None:
        return []
    texts = [dataset.subtask_texts[index] if index >= 0 else "" for index in dataset.subtasks]
    return [
        s
        for episode in dataset.episodes
        for s in segments_from_texts(episode.index, texts[episode.start : episode.end])
    ]


def segments_from_texts(episode: int, texts: Sequence[str]) -> list[Segment]:
    """Segments of an episode from the text of each frame ('' for none)."""
    runs = [(text, list(frames)) for text, frames in groupby(range(len(texts)), key=lambda frame: texts[frame])]
    return [Segment(episode, frames[0], frames[-1], text) for text, frames in runs if text]


def frame_texts(segments: Sequence[Segment], episodes: Sequence[Episode]) -> list[str]:
    """The text of every frame of a dataset, '' where no segment is."""
    texts = [""] * (episodes[-1].end if episodes else 0)
    for segment in segments:
        start = episodes[segment.episode].start
        texts[start + segment.first : start + segment.last + 1] = [segment.text] * (segment.last - segment.first + 1)
    return texts
