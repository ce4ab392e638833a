"""Comparison of variants on the same episodes: success rates, paired differences, and a Markdown table of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from wla.config import Record
from wla.intervals import (
    DIFFERENCE,
    FRACTION,
    MIN_TRAINING_SEEDS,
    Interval,
    interval_over_training_seeds,
    mean_by_episode,
    rate_interval,
)
from wla.rollout.results import EpisodeResult, TaskVariant

Episode = tuple[TaskVariant, int]


class VariantResult(Record):
    """Result of one variant.

    runs: number of training runs. successes, n: episodes of all runs that ended in success, and in success or failure.
    rate: its interval holds for these runs: exact for a single run, by episode for several.
    difference: from the baseline's success rate, over pairs of episodes with the same training seed, task and episode
    seed; None for the baseline, and where no episode ended in both. ..._over_seeds: t intervals over training seeds,
    None below `wla.intervals.MIN_TRAINING_SEEDS` runs.
    """

    variant: str
    runs: int
    successes: int
    n: int
    rate: Interval
    difference: Interval | None
    rate_over_seeds: Interval | None
    difference_over_seeds: Interval | None


def compare_variants(results: Mapping[str, Sequence[Sequence[EpisodeResult]]]) -> list[VariantResult]:
    """Returns one result per variant, in order; the first variant is the baseline of the differences.

    results: variant -> the episodes of each training seed, whose order is the same for all variants. ValueError for a
    variant with a run whose episodes are all errors.
    """
    outcomes = {name: [_outcomes(name, run) for run in runs] for name, runs in results.items()}
    baseline, base_runs = next(iter(outcomes.items()))
    return [
        _variant_result(name, runs, None if name == baseline else _differences(runs, base_runs))
        for name, runs in outcomes.items()
    ]


def table(rows: Sequence[VariantResult]) -> str:
    """Returns the results as a Markdown table, in percent, followed by what its intervals mean."""
    over_seeds = any(row.rate_over_seeds for row in rows)
    header = ["variant", "success, %", "95 %", "n", "difference", "95 %", "pairs"]
    header += ["success, 95 % over seeds", "difference, 95 % over seeds"] if over_seeds else []
    lines = [_line(header), _line(["---"] * len(header))]
    for row in rows:
        cells = [row.variant.replace("|", "\\|"), f"{100 * row.rate.estimate:.1f}", row.rate.bounds(), str(row.n)]
        if row.difference is None:
            cells += ["", "", ""]
        else:
            difference = row.difference
            cells += [f"{100 * difference.estimate:+.1f}", difference.bounds(sign=True), str(difference.n)]
        if over_seeds:
            cells += [interval.bounds(sign=sign) if interval else "" for interval, sign in _over_seeds(row)]
        lines.append(_line(cells))
    return "\n".join([*lines, "", *_notes(rows)]) + "\n"


def _variant_result(
    name: str, runs: Sequence[dict[Episode, int]], differences: Sequence[dict[Episode, int]] | None
) -> VariantResult:
    successes, n = sum(sum(run.values()) for run in runs), sum(len(run) for run in runs)
    rate = rate_interval(successes, n) if len(runs) == 1 else _by_episode(runs, FRACTION)
    assert rate is not None, "every run has episodes"
    difference = None
    if differences is not None:
        difference = _by_episode(differences, DIFFERENCE)
    return VariantResult(
        variant=name,
        runs=len(runs),
        successes=successes,
        n=n,
        rate=rate,
        difference=difference,
        rate_over_seeds=_over_runs(runs, rate),
        difference_over_seeds=None if differences is None else _over_runs(differences, difference),
    )


def _outcomes(name: str, run: Iterable[EpisodeResult]) -> dict[Episode, int]:
    """Returns 1 for each success and 0 for each failure; errors are left out."""
    episodes = list(run)
    decided = {(e.variant, e.seed): int(e.outcome == "success") for e in episodes if e.outcome != "error"}
    if not decided:
        first = episodes[0].error if episodes else "no episode was run"
        raise ValueError(
            f"variant {name!r}: no episode ended in success or failure ({first}); mend that, and run again"
        )
    return decided


def _differences(runs: Sequence[dict[Episode, int]], base: Sequence[dict[Episode, int]]) -> list[dict[Episode, int]]:
    """Returns success minus the baseline's for the episodes that ended in both; runs of the same training seed."""
    return [
        {episode: run[episode] - other[episode] for episode in run if episode in other}
        for run, other in zip(runs, base, strict=False)  # the last training seed may not be finished yet
    ]


def _by_episode(runs: Sequence[dict[Episode, int]], limits: tuple[float, float]) -> Interval | None:
    episodes = list(dict.fromkeys(episode for run in runs for episode in run))
    sums = [sum(run.get(episode, 0) for run in runs) for episode in episodes]
    counts = [sum(episode in run for run in runs) for episode in episodes]
    return mean_by_episode(sums, counts, limits, "by episode" if limits == FRACTION else "paired by episode")


def _over_runs(runs: Sequence[dict[Episode, int]], sampling: Interval | None) -> Interval | None:
    means = [float(np.mean(list(run.values()))) for run in runs if run]
    return None if sampling is None else interval_over_training_seeds(means, sampling)


def _over_seeds(row: VariantResult) -> tuple[tuple[Interval | None, bool], ...]:
    return (row.rate_over_seeds, False), (row.difference_over_seeds, True)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _notes(rows: Sequence[VariantResult]) -> list[str]:
    runs = min(row.runs for row in rows)
    rate = "exact" if runs == 1 else "by episode"
    notes = [f"95 % intervals hold for these training runs: success rates {rate}, differences paired by episode."]
    if runs >= MIN_TRAINING_SEEDS:
        notes.append(f"Over seeds: t intervals over n = {runs} training seeds, differences paired by training seed.")
    else:
        counted = "One training run" if runs == 1 else f"{runs} training runs"
        notes.append(
            f"{counted} of each variant: this says nothing about how much training runs of one variant differ, and a "
            f"difference may be one of runs rather than of variants (from {MIN_TRAINING_SEEDS} training seeds on there "
            "is an interval over them)."
        )
    return notes
