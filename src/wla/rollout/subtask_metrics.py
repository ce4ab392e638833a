"""A policy's subtasks compared with those of a reference (the environment's expert, or recorded labels).

`docs/conventions.md` says in plain words what counts. The strict metrics (`exact`, `memory_strict`) count a phase that
only one side has as an error, however short it is; the aligned ones do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from statistics import median_low

from wla.data.memory import MemoryConfig, prune_memory, update_memory
from wla.rollout.subtask_alignment import Segment, align, mark_optional
from wla.types import MemoryItem

TOLERANCE_S = 0.5
"""Seconds within which a predicted transition counts as the reference's; at least the time between two calls."""
_UNLIMITED = MemoryConfig(tokens=10**9)


@dataclass(frozen=True)
class SubtaskScore:
    """The subtasks of one episode, compared with the reference's. None: not measured, by an earlier version.

    windows: calls that predicted subtasks. exact: those whose window was the reference's over the chunk. current: those
    whose first subtask was the reference's at that step. repeats: those equal to the call before, so that its text is
    accepted as a draft.

    edits, edit_length: see `wla.rollout.subtask_alignment.Alignment`, of the sequences up to the last call.
    transitions: changes of the reference's subtask that the prediction shows too; boundary_error_steps is the sum of
    their distances in control steps, and timely_transitions how many are within the tolerance. missed_transitions:
    the others. predicted_transitions: changes of the predicted subtask.

    memory_correct: whether the subtasks that entered memory were the finished ones, short ones aside. memory_strict:
    whether the memory at the last call held exactly the finished subtasks.
    """

    windows: int
    exact: int
    repeats: int
    transitions: int
    boundary_error_steps: int
    missed_transitions: int
    memory_strict: bool
    current: int | None = None
    edits: int | None = None
    edit_length: int | None = None
    predicted_transitions: int | None = None
    timely_transitions: int | None = None
    memory_correct: bool | None = None


@dataclass(frozen=True)
class _Call:
    """A call at a control step: the subtasks that it predicted for the steps up to `horizon` later."""

    step: int
    window: tuple[str, ...]
    horizon: int


@dataclass
class SubtaskMetrics:
    """Collects an episode's subtasks. tolerance: of transitions in control steps, see `TOLERANCE_S`. labels: the
    reference's subtask at each observation, None where there is none. memory: the items that entered the policy's
    memory, each with the step of the call."""

    tolerance: int = 0
    labels: list[str | None] = field(default_factory=list)
    memory: list[tuple[int, MemoryItem]] = field(default_factory=list)
    _calls: list[_Call] = field(default_factory=list)
    _last_memory: tuple[MemoryItem, ...] = ()

    def add_label(self, subtask: str | None) -> None:
        """The reference's subtask at an observation; None where there is none: calls there are not compared."""
        self.labels.append(subtask)

    def add_prediction(self, step: int, window: tuple[str, ...], horizon: int, memory: Sequence[MemoryItem]) -> None:
        """A call at control step `step` whose subtasks cover the steps up to `horizon` later."""
        self._calls.append(_Call(step, window, horizon))
        self.memory += [(step, item) for item in memory if item not in self._last_memory]
        self._last_memory = tuple(memory)

    def score(self) -> SubtaskScore | None:
        """None without predicted subtasks, or without labels."""
        calls = [call for call in self._calls if call.window and self.labels[call.step] is not None]
        if not calls:
            return None
        last, interval = calls[-1].step, _interval(calls)
        reference = _reference(self.labels[: last + 1], interval)
        predicted = _predicted(calls, self.tolerance)
        alignment = align(predicted, reference)
        tolerance = max(self.tolerance, interval)
        errors = [abs(predicted[i].start - reference[j].start) for i, j in alignment.pairs if i and j]
        finished = self._labelled(0, self._calls[-1].step)[:-1]
        strict = _pruned([item.text for item in self._last_memory]) == _pruned(finished)
        entered = _entered(self.memory, calls, self.tolerance)
        return SubtaskScore(
            windows=len(calls),
            exact=sum(call.window == self._labelled(call.step, call.step + call.horizon) for call in calls),
            repeats=sum(before.window == now.window for before, now in pairwise(calls)),
            transitions=len(errors),
            boundary_error_steps=sum(errors),
            missed_transitions=_num_transitions(reference, {j for _, j in alignment.pairs}) - len(errors),
            memory_strict=strict,
            current=sum(call.window[0] == self.labels[call.step] for call in calls),
            edits=alignment.edits,
            edit_length=alignment.length,
            predicted_transitions=_num_transitions(predicted, {i for i, _ in alignment.pairs}),
            timely_transitions=sum(error <= tolerance for error in errors),
            memory_correct=strict or align(entered, _finished(reference, last, interval)).edits == 0,
        )

    def _labelled(self, first: int, last: int) -> tuple[str, ...]:
        """The consecutive distinct labels of the steps first .. last."""
        return tuple(text for text, _ in groupby(label for label in self.labels[first : last + 1] if label is not None))


def _interval(calls: Sequence[_Call]) -> int:
    """Control steps from one call to the next, usually (the median); 1 for a single call."""
    return median_low([now.step - before.step for before, now in pairwise(calls)] or [1])


def _reference(labels: Sequence[str | None], interval: int) -> list[Segment]:
    """The reference's subtasks. Those that fit between two calls are optional, and those of one step."""
    labelled = [(text, step) for step, text in enumerate(labels) if text is not None]
    steps = [(text, [step for _, step in group]) for text, group in groupby(labelled, key=lambda pair: pair[0])]
    segments = [Segment(text, group[0], group[-1] + 1) for text, group in steps]
    return mark_optional(segments, [segment.end - segment.start < max(2, interval) for segment in segments])


def _predicted(calls: Sequence[_Call], brief_steps: int) -> list[Segment]:
    """The predicted subtasks, finished by the rule of the memory, and the current one of the last call."""
    finished: tuple[MemoryItem, ...] = ()
    window: tuple[str, ...] = ()
    start = 0
    for call in calls:
        finished, start = update_memory(finished, window, start, call.window, call.step)
        window = call.window
    current = MemoryItem(window[0], start, calls[-1].step + 1)
    segments = _segments((*finished, current), calls, brief_steps)
    # The reference may change shortly after the last call. The only subtask of an episode is always compared.
    optional = len(segments) > 1 and (segments[-1].optional or start == calls[-1].step)
    return [*segments[:-1], replace(segments[-1], optional=optional)]


def _entered(memory: Sequence[tuple[int, MemoryItem]], calls: Sequence[_Call], brief_steps: int) -> list[Segment]:
    """The subtasks that entered the policy's memory; those of the last call are optional."""
    segments = _segments([item for _, item in memory], calls, brief_steps)
    last = calls[-1].step
    return [
        replace(segment, optional=segment.optional or step == last)
        for segment, (step, _) in zip(segments, memory, strict=True)
    ]


def _finished(reference: Sequence[Segment], last: int, interval: int) -> list[Segment]:
    """The reference's finished subtasks; those that ended less than an interval before the last call are optional."""
    return [replace(segment, optional=segment.optional or last - segment.end < interval) for segment in reference[:-1]]


def _segments(items: Sequence[MemoryItem], calls: Sequence[_Call], brief_steps: int) -> list[Segment]:
    """Subtasks of a policy. Those that were the current subtask of no call are optional, and those of a single call
    that lasted at most `brief_steps`."""
    segments = [Segment(item.text, item.start_step, item.end_step) for item in items]
    shown = [
        sum(segment.start <= call.step < segment.end and call.window[0] == segment.text for call in calls)
        for segment in segments
    ]
    brief = [
        count == 0 or (count == 1 and segment.end - segment.start <= brief_steps)
        for count, segment in zip(shown, segments, strict=True)
    ]
    return mark_optional(segments, brief)


def _num_transitions(segments: Sequence[Segment], paired: set[int]) -> int:
    """Number of the subtasks after the first one that the other side has, or has to have."""
    return sum(not segment.optional or index in paired for index, segment in enumerate(segments) if index)


def _pruned(texts: Sequence[str]) -> tuple[str, ...]:
    return prune_memory(texts, _UNLIMITED, str, len)
