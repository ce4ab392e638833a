"""A policy's subtasks compared with those of the environment's expert at the same steps.

The expert's subtasks follow from the scene. In a policy's episode they may leave out a short phase that the policy is
in (it grasps from a position that the expert would still call out of reach), so scores are too low for phases of a few
steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from wla.data.memory import MemoryConfig, prune_memory
from wla.intervals import FRACTION, Interval, mean_by_episode, rate_interval
from wla.rollout.results import EpisodeResult, SubtaskScore
from wla.types import MemoryItem

_UNLIMITED = MemoryConfig(tokens=10**9)


@dataclass(frozen=True)
class SubtaskRates:
    """Over many episodes: fractions with their counts and 95 % intervals, mean distance in steps.

    exact_interval: by episode, because windows of one episode are not independent. memory_accuracy_interval: exact.
    """

    episodes: int
    windows: int
    exact: float
    exact_interval: Interval
    repeat_rate: float
    boundary_error: float | None
    missed_transition_rate: float | None
    memory_accuracy: float
    memory_accuracy_interval: Interval

    def __str__(self) -> str:
        off = "" if self.boundary_error is None else f", boundaries {self.boundary_error:.1f} steps off"
        return (
            f"{100 * self.exact:.1f} % of {self.windows} windows exact "
            f"(95 % interval {self.exact_interval.bounds()} by episode){off}, "
            f"memory right in {100 * self.memory_accuracy:.1f} % of {self.episodes} episodes, "
            f"{100 * self.repeat_rate:.1f} % of calls repeated the one before"
        )


@dataclass
class SubtaskMetrics:
    """Collects an episode's subtasks. labels: the expert's subtask at each observation. windows: step, predicted
    subtasks and horizon of each call."""

    labels: list[str] = field(default_factory=list)
    windows: list[tuple[int, tuple[str, ...], int]] = field(default_factory=list)
    memory: list[tuple[int, str]] = field(default_factory=list)
    _last_memory: tuple[MemoryItem, ...] = ()

    def add_label(self, subtask: str | None) -> None:
        """The expert's subtask at an observation; None where the environment provides none."""
        if subtask is not None:
            self.labels.append(subtask)

    def add_prediction(self, step: int, window: tuple[str, ...], horizon: int, memory: Sequence[MemoryItem]) -> None:
        """A call at control step `step` whose subtasks cover the steps up to `horizon` later."""
        self.windows.append((step, window, horizon))
        self.memory += [(step, item.text) for item in memory if item not in self._last_memory]
        self._last_memory = tuple(memory)

    def score(self) -> SubtaskScore | None:
        """None without predicted subtasks, or without labels."""
        predicted = [call for call in self.windows if call[1] and call[0] < len(self.labels)]
        if not predicted:
            return None
        exact = sum(
            window == collapse_repeats(self.labels[step : step + horizon + 1]) for step, window, horizon in predicted
        )
        repeats = sum(before[1] == now[1] for before, now in pairwise(predicted))
        begun = [(predicted[0][0], predicted[0][1][0])]
        begun += [(now[0], now[1][0]) for before, now in pairwise(predicted) if before[1][0] != now[1][0]]
        changes = [(step, text) for step, text in enumerate(self.labels) if step and text != self.labels[step - 1]]
        off = [min((abs(at - step) for at, what in begun if what == text), default=None) for step, text in changes]
        found = [steps for steps in off if steps is not None]
        return SubtaskScore(
            windows=len(predicted),
            exact=exact,
            repeats=repeats,
            transitions=len(found),
            boundary_error_steps=sum(found),
            missed_transitions=len(off) - len(found),
            memory_correct=self._pruned([item.text for item in self._last_memory])
            == self._pruned(collapse_repeats(self.labels[: self.windows[-1][0] + 1])[:-1]),
        )

    @staticmethod
    def _pruned(texts: Sequence[str]) -> tuple[str, ...]:
        return prune_memory(texts, _UNLIMITED, str, len)


def collapse_repeats(texts: Sequence[str]) -> tuple[str, ...]:
    """Without direct repetitions."""
    return tuple(text for index, text in enumerate(texts) if index == 0 or text != texts[index - 1])


def subtask_rates(results: Iterable[EpisodeResult]) -> SubtaskRates | None:
    """None when no episode has subtasks to compare."""
    scores = [result.subtask_metrics for result in results if result.subtask_metrics is not None]
    if not scores:
        return None
    windows, exact = sum(score.windows for score in scores), sum(score.exact for score in scores)
    transitions, missed_transitions = (
        sum(score.transitions for score in scores),
        sum(score.missed_transitions for score in scores),
    )
    right = sum(score.memory_correct for score in scores)
    calls = windows - len(scores)
    exact_interval = mean_by_episode([score.exact for score in scores], [score.windows for score in scores], FRACTION)
    assert exact_interval is not None, "every score has a window"
    return SubtaskRates(
        episodes=len(scores),
        windows=windows,
        exact=exact / windows,
        exact_interval=exact_interval,
        repeat_rate=sum(score.repeats for score in scores) / max(1, calls),
        boundary_error=sum(score.boundary_error_steps for score in scores) / transitions if transitions else None,
        missed_transition_rate=missed_transitions / (transitions + missed_transitions)
        if transitions + missed_transitions
        else None,
        memory_accuracy=right / len(scores),
        memory_accuracy_interval=rate_interval(right, len(scores)),
    )
