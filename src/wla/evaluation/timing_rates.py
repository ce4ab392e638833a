"""Timing of many episodes: how much of the time the robot waited, and how smoothly its chunks join."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wla.intervals import Interval, mean_by_episode
from wla.rollout.results import EpisodeResult


@dataclass(frozen=True)
class TimingRates:
    """Means over episodes, with 95 % intervals by episode.

    stale: percent of the control steps without an action. success_steps: control steps of the episodes that succeeded.
    border_jerk, jerk: see `TimingScore`.
    """

    episodes: int
    stale: Interval | None
    success_steps: Interval | None
    border_jerk: Interval | None
    jerk: Interval | None


def timing_rates(results: Iterable[EpisodeResult]) -> TimingRates | None:
    """None where no episode had a latency."""
    timed = [(result, result.timing) for result in results if result.timing is not None]
    if not timed:
        return None
    scores = [score for _, score in timed]
    return TimingRates(
        episodes=len(timed),
        stale=_mean([100 * score.stale for score in scores]),
        success_steps=_mean([float(result.steps) for result, _ in timed if result.outcome == "success"]),
        border_jerk=_mean([score.border_jerk for score in scores if score.border_jerk is not None]),
        jerk=_mean([score.jerk for score in scores if score.jerk is not None]),
    )


def _mean(values: Sequence[float]) -> Interval | None:
    return mean_by_episode(values, [1] * len(values))
