"""95 % intervals: published values, the ends of the range, and coverage where a normal approximation falls short."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial, norm

from wla.intervals import (
    DIFFERENCE,
    FRACTION,
    Interval,
    auroc_interval,
    interval_over_training_seeds,
    mean_by_episode,
    paired_difference,
    rate_interval,
    sums_by_episode,
)


def covers(interval: Interval | None, truth: float) -> bool:
    assert interval is not None
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


# Newcombe 1998 (Stat. Med. 17:857), table I: the "exact" Clopper-Pearson column.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_the_interval_of_a_rate_agrees_with_published_values(successes, n, low, high):
    found = rate_interval(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert (found.estimate, found.kind, found.n) == (successes / n, "exact", n)
    mirrored = rate_interval(n - successes, n)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - high, 1 - low), abs=1e-4)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9, 0.97, 0.99])
@pytest.mark.parametrize("n", [5, 6, 17, 50, 200])
def test_rates_are_covered(rate, n):
    # Wilson's interval covers 83 % of n = 6 at 97 %.
    weights = binom.pmf(np.arange(n + 1), n, rate)
    assert sum(weights[k] * covers(rate_interval(k, n), rate) for k in range(n + 1)) >= 0.95


@pytest.mark.parametrize(
    ("n", "candidate_only", "baseline_only"), [(50, 0.03, 0.01), (50, 0.02, 0.0), (5, 0.03, 0.01), (20, 0.3, 0.2)]
)
def test_paired_differences_are_covered(n, candidate_only, baseline_only):
    """50 pairs at 99 and 97 %: the normal approximation covers 77 %, and less where one is never alone in success."""
    coverage = 0.0
    for first, second in ((a, b) for a in range(n + 1) for b in range(n + 1 - a)):
        rest = 1 - candidate_only - baseline_only
        weight = multinomial.pmf([first, second, n - first - second], n, [candidate_only, baseline_only, rest])
        if weight > 1e-6:
            differences = np.repeat([1.0, 0.0, 0.0], [first, second, n - first - second])
            other = np.repeat([0.0, 1.0, 0.0], [first, second, n - first - second])
            coverage += weight * covers(paired_difference(differences, other), candidate_only - baseline_only)
    assert coverage >= 0.94


def test_equal_outcomes_of_a_few_pairs_do_not_show_that_rates_are_equal():
    few, many = (paired_difference([1] * n, [1] * n) for n in (5, 500))
    assert few is not None
    assert many is not None
    assert few.estimate == many.estimate == 0
    assert few.high > 0.3
    assert few.low == pytest.approx(-few.high)
    assert 0 < many.high < 0.01
    assert few.label == "paired by episode, of these runs, n = 5 episodes"
    assert paired_difference([], []) is None


def windows_of_episodes(rng: np.random.Generator, rate: float, correlation: float, episodes: int):
    lengths = 1 + rng.geometric(1 / 8, episodes)
    scale = 1 / correlation - 1
    return rng.binomial(lengths, rng.beta(rate * scale, (1 - rate) * scale, episodes)), lengths


@pytest.mark.parametrize(("rate", "correlation", "episodes"), [(0.95, 0.7, 10), (0.8, 0.3, 5)])
def test_windows_are_counted_by_episode(rate, correlation, episodes):
    """A normal approximation or a bootstrap by episode covers 45 to 80 % here."""
    rng = np.random.default_rng(0)
    draws = (windows_of_episodes(rng, rate, correlation, episodes) for _ in range(500))
    found = [covers(mean_by_episode(c.tolist(), n.tolist(), FRACTION), rate) for c, n in draws]
    assert np.mean(found) >= 0.93


def test_many_independent_windows_are_not_thrown_away():
    rng = np.random.default_rng(0)
    sums = rng.binomial(20, 0.8, 200).astype(float)
    found = mean_by_episode(sums, np.full(200, 20.0), FRACTION)
    exact = rate_interval(int(sums.sum()), 4000)
    assert found is not None
    assert found.high - found.low < 2 * (exact.high - exact.low)
    assert found.n == 200


def test_means_without_limits_have_t_intervals():
    """With 4 episodes the normal approximation covers 85 %."""
    rng = np.random.default_rng(0)
    draws = rng.normal(3.0, 1.0, (1000, 4))
    assert np.mean([covers(mean_by_episode(draw, np.ones(4)), 3.0) for draw in draws]) >= 0.93
    assert mean_by_episode([3.0], [5]) is None
    assert mean_by_episode([0.0, 0.0], [0, 0], DIFFERENCE) is None


@pytest.mark.parametrize("n", [5, 20, 50])
def test_means_of_skewed_values_are_covered(n):
    """As errors of actions are: few episodes are far off. A t interval covers 86 to 89 %."""
    rng = np.random.default_rng(0)
    draws = rng.lognormal(0, 1, (600, n)) - math.exp(0.5)
    assert np.mean([covers(mean_by_episode(draw, np.ones(n)), 0) for draw in draws]) >= 0.92


def test_a_long_tail_widens_its_side_only():
    values = np.array([1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 5.0])
    up = mean_by_episode(values, np.ones(8))
    down = mean_by_episode(-values, np.ones(8))
    assert up.high - up.estimate > 1.5 * (up.estimate - up.low)
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low))


def test_values_are_summed_by_episode():
    sums, counts = sums_by_episode(np.array([1.0, 2.0, 3.0]), np.array([7, 4, 7]))
    assert (sums.tolist(), counts.tolist()) == ([2.0, 4.0], [1.0, 2.0])
    assert mean_by_episode(*sums_by_episode(np.array([]), np.array([], int)), FRACTION) is None


def test_intervals_over_training_seeds_need_five_and_contain_the_spread_of_runs():
    sampling = rate_interval(450, 500)
    assert interval_over_training_seeds([0.9] * 4, sampling) is None
    rng = np.random.default_rng(0)
    truth = 0.8
    coverage = np.mean(
        [
            covers(interval_over_training_seeds(runs.tolist(), rate_interval(round(500 * runs.mean()), 500)), truth)
            for runs in rng.normal(truth, 0.05, (1000, 5))
        ]
    )
    assert coverage >= 0.94  # 1.96 standard errors of five runs cover 88 %


def test_equal_runs_do_not_make_an_interval_of_width_zero():
    sampling = paired_difference([1] * 50, [1] * 50)
    assert sampling is not None
    found = interval_over_training_seeds([0.0] * 5, sampling)
    assert found is not None
    assert (found.low, found.high) == (sampling.low, sampling.high)
    assert found.label == "t, n = 5 training seeds"
    wide = interval_over_training_seeds([0.2, 1.0, 1.0, 1.0, 1.0], rate_interval(210, 250))
    assert wide is not None
    assert wide.low < 0.5
    assert wide.high == 1.0


def test_auroc_counts_episodes():
    rng = np.random.default_rng(0)
    truth = norm.cdf(1 / np.sqrt(2))
    found = []
    for _ in range(300):
        positive = np.arange(24) % 4 > 0  # 18 episodes of success, 6 of failure
        effect = rng.normal(0, np.sqrt(0.7), 24) + positive
        score = (effect[:, None] + rng.normal(0, np.sqrt(0.3), (24, 10))).ravel()
        found.append(covers(auroc_interval(score, positive.repeat(10), np.arange(24).repeat(10)), truth))
    assert np.mean(found) >= 0.93
    perfect = auroc_interval([1, 2, 3, 4], [False, False, True, True], [0, 0, 1, 1])
    assert perfect is not None
    assert (perfect.estimate, perfect.n) == (1.0, 2)
    assert perfect.low < 0.5
    assert auroc_interval([1, 2], [True, True], [0, 1]) is None


def test_bounds_are_percent_unless_asked_otherwise():
    found = Interval(0.5, 0.25, 0.75, "exact", 4)
    assert found.bounds() == "25.0 .. 75.0"
    assert found.bounds(scale=1.0, digits=2, sign=True) == "+0.25 .. +0.75"
    assert found.label == "exact, n = 4 episodes"
