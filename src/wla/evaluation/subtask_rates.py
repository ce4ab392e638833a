"""Subtask metrics over many episodes, and their columns in tables: heading, explanation and text of a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from wla.intervals import FRACTION, Interval, mean_by_episode, rate_interval
from wla.rollout.subtask_metrics import TOLERANCE_S, SubtaskScore


@dataclass(frozen=True)
class SubtaskRates:
    """Fractions over episodes, with intervals by episode; distances in control steps. None: nothing to measure it on.

    windows: calls that predicted subtasks. The metrics are those of `SubtaskScore`; edit_score is the mean over
    episodes of 1 - edits / edit_length.
    """

    episodes: int
    windows: int
    edit_score: Interval | None
    current: Interval | None
    transition_precision: float | None
    transition_recall: float | None
    transition_f1: float | None
    transition_error: float | None
    memory: Interval | None
    memory_strict: Interval
    exact: Interval | None
    repeat_rate: float | None


def subtask_rates(scores: Iterable[SubtaskScore | None]) -> SubtaskRates | None:
    """The rates over the episodes that have a score; None when there are none."""
    found = [score for score in scores if score is not None]
    if not found:
        return None
    # Files of earlier versions lack the metrics of the alignment.
    aligned = [score for score in found if score.edits is not None]
    timely, predicted = (
        sum(getattr(score, name) for score in aligned) for name in ("timely_transitions", "predicted_transitions")
    )
    transitions = sum(score.transitions for score in found)
    reference = sum(score.transitions + score.missed_transitions for score in aligned)
    return SubtaskRates(
        episodes=len(found),
        windows=sum(score.windows for score in found),
        edit_score=_mean([1 - (score.edits or 0) / (score.edit_length or 1) for score in aligned], [1] * len(aligned)),
        current=_mean([score.current or 0 for score in aligned], [score.windows for score in aligned]),
        transition_precision=_fraction(timely, predicted),
        transition_recall=_fraction(timely, reference),
        transition_f1=_fraction(2 * timely, predicted + reference),
        transition_error=_fraction(sum(score.boundary_error_steps for score in found), transitions),
        memory=rate_interval(sum(bool(score.memory_correct) for score in aligned), len(aligned)) if aligned else None,
        memory_strict=rate_interval(sum(score.memory_strict for score in found), len(found)),
        exact=_mean([score.exact for score in found], [score.windows for score in found]),
        repeat_rate=_fraction(sum(score.repeats for score in found), sum(score.windows - 1 for score in found)),
    )


class Cell(NamedTuple):
    """The value of a metric as text, and its 95 % interval by episode, '' where it has none."""

    value: str
    interval: str = ""


@dataclass(frozen=True)
class Column:
    """A metric in tables. explanation: a sentence for readers of the table."""

    heading: str
    explanation: str
    cell: Callable[[SubtaskRates], Cell]


REFERENCE = (
    "The reference is the subtask that the environment's expert would pursue at the same step of the same episode. "
    "Except for the strict metrics, a subtask that fits between two calls of the policy may be absent on either side "
    "(a grasp of one step, for example)."
)
"""Explanation of the comparison, for readers of the table."""

COLUMNS = (
    Column(
        "edit score, %",
        "Agreement of the sequence of subtasks of an episode with the reference's: 100 minus the edit distance "
        "(insertions, deletions, substitutions) in percent of the longer sequence; mean over episodes.",
        lambda rates: _interval(rates.edit_score),
    ),
    Column(
        "current subtask, %",
        "Calls whose current (first predicted) subtask is the reference's at that step.",
        lambda rates: _interval(rates.current),
    ),
    Column(
        "transition precision, %",
        f"Predicted transitions between subtasks that the reference has too, within {TOLERANCE_S:g} s or the time "
        "between two calls, whichever is longer.",
        lambda rates: Cell(_percent(rates.transition_precision)),
    ),
    Column(
        "transition recall, %",
        "Transitions of the reference that were predicted within that time.",
        lambda rates: Cell(_percent(rates.transition_recall)),
    ),
    Column(
        "transition F1, %",
        "Harmonic mean of the two.",
        lambda rates: Cell(_percent(rates.transition_f1)),
    ),
    Column(
        "transition error, steps",
        "Mean distance of a predicted transition from the reference's, in control steps.",
        lambda rates: Cell("-" if rates.transition_error is None else f"{rates.transition_error:.1f}"),
    ),
    Column(
        "memory, %",
        "Episodes in which the subtasks that entered the policy's memory are those that were finished, in order.",
        lambda rates: _interval(rates.memory),
    ),
    Column(
        "memory strict, %",
        "Episodes whose memory at the last call is exactly the list of finished subtasks; short subtasks and items "
        "dropped for the token budget count as errors.",
        lambda rates: _interval(rates.memory_strict),
    ),
    Column(
        "exact match strict, %",
        "Calls whose predicted subtasks are exactly the reference's over the whole chunk.",
        lambda rates: _interval(rates.exact),
    ),
    Column(
        "repeats, %",
        "Calls that predict the same subtasks as the previous call, so that these are accepted as a draft.",
        lambda rates: Cell(_percent(rates.repeat_rate)),
    ),
)
"""The metrics in order."""


def _mean(sums: Sequence[float | int], counts: Sequence[int]) -> Interval | None:
    return mean_by_episode(sums, counts, FRACTION)


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def _interval(interval: Interval | None) -> Cell:
    return Cell("-") if interval is None else Cell(_percent(interval.estimate), interval.bounds())
