"""Alignment of the subtasks that a policy predicted with those of a reference, by minimum edit distance.

The segmental edit distance of action segmentation (Lea et al. 2016), with one difference: short subtasks may be absent
from the other sequence at no cost. A policy that acts every few steps cannot show a subtask of one step, and an expert
skips phases that it does not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Segment:
    """A subtask that ran in the control steps start <= step < end. optional: whether the other sequence may lack it."""

    text: str
    start: int
    end: int
    optional: bool = False


@dataclass(frozen=True)
class Alignment:
    """edits: insertions, deletions and substitutions of subtasks that are not optional. length: the larger number of
    these in either sequence, at least 1, which `edits` never exceeds. pairs: indices (predicted, reference) of equal
    subtasks in order."""

    edits: int
    length: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Path:
    """The best alignment of two prefixes: fewest edits, then most pairs, then the smallest sum of their distances in
    time."""

    edits: int = 0
    num_pairs: int = 0
    time_error: int = 0
    pair: tuple[int, int] | None = None
    before: _Path | None = None

    def pairs(self) -> Iterator[tuple[int, int]]:
        path: _Path | None = self
        while path is not None:
            if path.pair is not None:
                yield path.pair
            path = path.before


def align(predicted: Sequence[Segment], reference: Sequence[Segment]) -> Alignment:
    """Returns the alignment with the fewest edits; among these the one with most pairs, closest in time."""
    best = {(0, 0): _Path()}
    for i, j in product(range(len(predicted) + 1), range(len(reference) + 1)):
        ways = []
        if i:
            ways.append(_step(best[i - 1, j], not predicted[i - 1].optional))
        if j:
            ways.append(_step(best[i, j - 1], not reference[j - 1].optional))
        if i and j:
            before, ours, theirs = best[i - 1, j - 1], predicted[i - 1], reference[j - 1]
            if ours.text == theirs.text:
                time_error = before.time_error + abs(ours.start - theirs.start)
                ways.append(_Path(before.edits, before.num_pairs + 1, time_error, (i - 1, j - 1), before))
            else:
                ways.append(_step(before, 1))
        if ways:
            best[i, j] = min(ways, key=lambda path: (path.edits, -path.num_pairs, path.time_error))
    path = best[len(predicted), len(reference)]
    lengths = (sum(not segment.optional for segment in segments) for segments in (predicted, reference))
    return Alignment(path.edits, max(1, *lengths), tuple(path.pairs())[::-1])


def mark_optional(segments: Sequence[Segment], brief: Sequence[bool]) -> list[Segment]:
    """Returns the segments with those that may be left out: the brief ones, and the continuation of a subtask that only
    brief ones interrupted."""
    marked: list[Segment] = []
    running: str | None = None
    for segment, is_brief in zip(segments, brief, strict=True):
        marked.append(Segment(segment.text, segment.start, segment.end, is_brief or segment.text == running))
        if not is_brief:
            running = segment.text
    return marked


def _step(before: _Path, edits: int) -> _Path:
    """The alignment continued without a pair."""
    return _Path(before.edits + edits, before.num_pairs, before.time_error, None, before)
