"""Success rates of the groups of tasks over which a benchmark's papers average, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wla.envs.registry import load_family
from wla.intervals import FRACTION, Interval, mean_by_episode
from wla.rollout.results import EpisodeResult, Rate, success_rate


@dataclass(frozen=True)
class GroupRates:
    """Rate of each group, and the mean in which each group counts the same, however many tasks it has."""

    rates: tuple[tuple[str, Rate], ...]
    mean: Interval

    def __str__(self) -> str:
        return (
            f"{100 * self.mean.estimate:.1f} % (mean of {len(self.rates)} groups, 95 % interval {self.mean.bounds()})"
        )


def group_rates(results: Sequence[EpisodeResult]) -> GroupRates | None:
    """None unless the episodes are of one environment family that has such groups, and decide each of its tasks."""
    names = {result.env for result in results}
    if len(names) != 1:
        return None
    try:
        family = load_family(names.pop())
    except (ValueError, OSError):  # results of an environment that is not installed here
        return None
    decided = [result for result in results if result.outcome != "error"]
    if not family.averaged_groups or {result.task for result in decided} != set(family.tasks):
        return None
    members = [[each for each in decided if each.task in family.groups[name]] for name in family.averaged_groups]
    rates = tuple(zip(family.averaged_groups, map(success_rate, members), strict=True))
    sums = [(each.outcome == "success") / len(group) for group in members for each in group]
    counts = [1 / len(group) for group in members for _ in group]
    mean = mean_by_episode(sums, counts, FRACTION)
    assert mean is not None, "every group has episodes"
    return GroupRates(rates, mean)
