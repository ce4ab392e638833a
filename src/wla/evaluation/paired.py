"""Two evaluations of the same episodes: paired differences with their intervals, and the episodes that changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from scipy.special import bdtr

from wla.evaluation.summary import Identity, describe, load_summary, version_sets
from wla.intervals import Interval, paired_difference
from wla.rollout.results import EpisodeResult, Rate, TaskVariant, success_rate
from wla.types import Outcome

Key = tuple[TaskVariant, int]
"""Task variant and seed of an episode."""


class Episode(Protocol):
    """How an episode ended, and after how many control steps."""

    @property
    def outcome(self) -> Outcome: ...
    @property
    def steps(self) -> int: ...


@dataclass(frozen=True)
class EvaluatedRun:
    """The episodes of an evaluation's folder, a line about it, and its distinct sets of software versions."""

    description: str
    results: dict[Key, EpisodeResult]
    version_sets: list[dict[str, str]]


EpisodeT = TypeVar("EpisodeT", bound=Episode)


@dataclass(frozen=True)
class PairedRow:
    """Success of two runs in one task variant (None: in all), over the episodes of each.

    pairs: episodes that were decided in both. difference: of the second from the first over the pairs, None without
    any. only_first, only_second: pairs in which only that run succeeded.
    """

    variant: TaskVariant | None
    rates: tuple[Rate, Rate]
    pairs: int
    only_first: int
    only_second: int
    difference: Interval | None

    @property
    def p_value(self) -> float:
        """Two-sided p-value of McNemar's exact test: of pairs that only one run wins, each wins half."""
        discordant = self.only_first + self.only_second
        fewer = min(self.only_first, self.only_second)
        return min(1.0, 2 * float(bdtr(fewer, discordant, 0.5))) if discordant else 1.0


def read_pair(first: Path, second: Path) -> tuple[EvaluatedRun, EvaluatedRun]:
    """Returns two evaluations. FileNotFoundError when a folder holds none, ValueError for the same folder twice, and
    for evaluations without a common episode."""
    if first.resolve() == second.resolve():
        raise ValueError(f"{first}: is compared with itself; give two evaluations")
    one, other = _read(first), _read(second)
    if not one.results.keys() & other.results.keys():
        raise ValueError(
            f"{first} and {second} have no episode of the same task, setting, robot, protocol and seed; evaluate both "
            "with the same --tasks, --seed and --protocol"
        )
    return one, other


def by_key(results: Iterable[EpisodeResult]) -> dict[Key, EpisodeResult]:
    """Returns the episodes by task variant and seed."""
    return {(result.variant, result.seed): result for result in results}


def paired_rows(first: Mapping[Key, Episode], second: Mapping[Key, Episode]) -> list[PairedRow]:
    """Returns the comparison of two runs in all, and in each task variant of either."""
    variants = dict.fromkeys(variant for run in (first, second) for variant, _ in run)
    return [paired_row(variant, first, second) for variant in (None, *variants)]


def paired_row(variant: TaskVariant | None, first: Mapping[Key, Episode], second: Mapping[Key, Episode]) -> PairedRow:
    """Returns the comparison of two runs in a task variant, or in all."""
    ours, theirs = ({k: r for k, r in run.items() if variant in (None, k[0])} for run in (first, second))
    pairs = [
        (ours[key].outcome == "success", theirs[key].outcome == "success")
        for key in ours.keys() & theirs.keys()
        if "error" not in (ours[key].outcome, theirs[key].outcome)
    ]
    return PairedRow(
        variant=variant,
        rates=(success_rate(ours.values()), success_rate(theirs.values())),
        pairs=len(pairs),
        only_first=pairs.count((True, False)),
        only_second=pairs.count((False, True)),
        difference=paired_difference([b for _, b in pairs], [a for a, _ in pairs]),
    )


def changed_episodes(
    first: Mapping[Key, EpisodeT], second: Mapping[Key, EpisodeT]
) -> list[tuple[Key, EpisodeT, EpisodeT]]:
    """Returns the common episodes whose outcomes differ: those that the second run lost come first."""
    found = [
        (key, before, second[key])
        for key, before in first.items()
        if key in second and before.outcome != second[key].outcome
    ]
    return sorted(found, key=lambda each: (each[1].outcome != "success", each[0][0].task, each[0][1]))


def _read(folder: Path) -> EvaluatedRun:
    summary = load_summary(folder)
    description = describe(Identity.load(folder / "run.json"))
    return EvaluatedRun(description, by_key(summary.results), version_sets(summary.results))
