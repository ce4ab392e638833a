"""95 % confidence intervals of rates, of means over episodes, of paired differences, and over training seeds.

Frames, windows and pairs of one episode are not independent, so an episode is the unit everywhere. Bootstraps and
normal approximations of few episodes are too narrow (of width zero where all succeed);
`benchmarks/interval_coverage.py` measures the coverage of what is used instead.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.special import betaincinv, stdtrit

LEVEL = 0.95
TAIL = (1 + LEVEL) / 2
FRACTION, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)
"""Limits of a success, a fraction or a rate, and of the difference of two."""
MIN_TRAINING_SEEDS = 5
"""Training runs of a variant from which an interval over training seeds is given."""
RUN_SPREAD = 0.05
"""Difference of success rates that is usual between training runs, see `interval_over_training_seeds`."""

IntervalKind = Literal["exact", "by episode", "paired by episode", "over training seeds"]
LABELS: dict[IntervalKind, str] = {
    "exact": "exact, n = {n} episode{s}",
    "by episode": "by episode, n = {n} episode{s}",
    "paired by episode": "paired by episode, of these runs, n = {n} episode{s}",
    "over training seeds": "t, n = {n} training seed{s}",
}


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of `estimate`, in the unit of the quantity; rates are fractions. n: independent units, see
    `label`."""

    estimate: float
    low: float
    high: float
    kind: IntervalKind
    n: int

    @property
    def label(self) -> str:
        """Kind and number of units, as "exact, n = 50 episodes"."""
        return LABELS[self.kind].format(n=self.n, s="s" * (self.n != 1))

    def bounds(self, *, scale: float = 100.0, digits: int = 1, sign: bool = False) -> str:
        """Returns "low .. high", multiplied by `scale`: by default percent of a fraction."""
        low, high = (f"{scale * bound:{'+' * sign}.{digits}f}" for bound in (self.low, self.high))
        return f"{low} .. {high}"


def rate_interval(successes: int, n: int) -> Interval:
    """Returns the exact interval (Clopper and Pearson 1934) of the rate of n >= 1 independent episodes."""
    return Interval(successes / n, *_beta_bounds(successes / n, float(n)), "exact", n)


def mean_by_episode(
    sums: Sequence[float | int] | Float64[np.ndarray, " E"],
    counts: Sequence[float | int] | Float64[np.ndarray, " E"],
    limits: tuple[float, float] | None = None,
    kind: IntervalKind = "by episode",
) -> Interval | None:
    """Returns the interval of sum(sums) / sum(counts), a mean over frames, windows or runs of E independent episodes.

    limits: lowest and highest possible value of a frame, as `FRACTION`; None without such. Returns None
    when nothing is counted, or for a single episode without limits.
    """
    total, count = _episodes_with_counts(sums, counts)
    if len(count) < 1 + (limits is None):
        return None
    mean = float(total.sum() / count.sum())
    if limits is None:
        below, above = _skewed_bounds(_jackknife(total, count))
        return Interval(mean, mean - below, mean + above, kind, len(count))
    low, high = limits
    spread = _fraction_spread((total - low * count) / (high - low), count)
    below, above = _beta_bounds((mean - low) / (high - low), spread.effective_n)
    return Interval(mean, low + (high - low) * below, low + (high - low) * above, kind, len(count))


def paired_difference(
    candidate: Sequence[float | int] | Float64[np.ndarray, " E"],
    baseline: Sequence[float | int] | Float64[np.ndarray, " E"],
) -> Interval | None:
    """Returns the interval of the mean of candidate - baseline, each a success or fraction (0 .. 1) of the same E
    episodes; None without episodes."""
    difference = np.asarray(candidate, np.float64) - np.asarray(baseline, np.float64)
    return mean_by_episode(difference, np.ones(len(difference)), DIFFERENCE, "paired by episode")


def auroc_interval(
    score: Sequence[float | int] | np.ndarray,
    positive: Sequence[bool] | np.ndarray,
    episode: Sequence[Hashable] | np.ndarray,
) -> Interval | None:
    """Returns the interval of the area under the ROC curve of frames whose episodes are wholly positive or negative.

    Variance: Obuchowski 1997, of the fraction of the other class that each frame is ranked correctly against. None when
    all or no frames are positive.
    """
    scores, labels, names = np.asarray(score, np.float64), np.asarray(positive, bool), np.asarray(episode)
    if labels.all() or not labels.any():
        return None
    above = _fraction_below(scores[labels], scores[~labels])
    below = _fraction_below(-scores[~labels], -scores[labels])
    spreads = [
        _fraction_spread(*sums_by_episode(values, names[mask])) for values, mask in ((above, labels), (below, ~labels))
    ]
    variance = sum(spread.variance for spread in spreads)
    spread = _Spread(
        mean=sum(spread.mean for spread in spreads) / 2,
        variance=variance,
        degrees_of_freedom=variance**2 / sum(each.variance**2 / each.degrees_of_freedom for each in spreads),
    )
    area = float(above.mean())
    return Interval(area, *_beta_bounds(area, spread.effective_n), "by episode", len(np.unique(names)))


def interval_over_training_seeds(values: Sequence[float | int], sampling: Interval) -> Interval | None:
    """Returns the t interval of the mean over training seeds; None with fewer than `MIN_TRAINING_SEEDS` values.

    values: one per training seed, a rate or a difference of rates. sampling: interval of the same mean over episodes,
    which the result contains. A few runs that agree do not show that all would: where two made-up runs `RUN_SPREAD`
    above and below the mean make the standard deviation larger, it is used.
    """
    n = len(values)
    if n < MIN_TRAINING_SEEDS:
        return None
    mean = float(np.mean(values))
    spread = max(np.std(values, ddof=1), np.std([*values, mean - RUN_SPREAD, mean + RUN_SPREAD], ddof=1))
    half = _t_quantile(n - 1.0) * float(spread) / math.sqrt(n)
    lowest, highest = DIFFERENCE if sampling.kind == "paired by episode" else FRACTION
    low, high = max(lowest, min(mean - half, sampling.low)), min(highest, max(mean + half, sampling.high))
    return Interval(mean, low, high, "over training seeds", n)


@dataclass(frozen=True)
class _Spread:
    """Mean over episodes, its variance, the degrees of freedom of that, and the skewness of the mean."""

    mean: float
    variance: float
    degrees_of_freedom: float
    skewness: float = 0.0

    @property
    def effective_n(self) -> float:
        """Number of independent observations that leave a fraction as uncertain (Korn and Graubard 1998)."""
        narrowing = _t_quantile(math.inf) / _t_quantile(self.degrees_of_freedom)
        return self.mean * (1 - self.mean) / self.variance * narrowing**2


def _jackknife(total: Float64[np.ndarray, " E"], count: Float64[np.ndarray, " E"]) -> _Spread:
    """Delete-one-episode jackknife. Degrees of freedom: the effective number of episodes (Kish 1965), which unequal
    lengths lower, minus one."""
    without = (total.sum() - total) / (count.sum() - count)
    variance = float(np.var(without))
    third_moment = float(((without.mean() - without) ** 3).mean())  # leaving out a high episode lowers the mean
    return _Spread(
        mean=float(total.sum() / count.sum()),
        variance=(len(count) - 1) * variance,
        degrees_of_freedom=float(count.sum() ** 2 / (count**2).sum()) - 1,
        skewness=third_moment / (variance**1.5 * math.sqrt(len(count))) if third_moment else 0.0,
    )


def _fraction_spread(total: Float64[np.ndarray, " E"], count: Float64[np.ndarray, " E"]) -> _Spread:
    """Jackknife with two episodes added, one of zeros and one of ones (as Agresti and Coull 1998, Bonett and Price 2012
    for independent values): episodes that happen to agree do not make a variance of zero.

    The two are as long as the episode in which an average zero, or one, lies: failures are often longer.
    """
    lengths = [count @ w / w.sum() if w.sum() > 0 else count.max() for w in (count - total, total)]
    length = max(lengths)
    return _jackknife(np.append(total, [0.0, length]), np.append(count, [length, length]))


def _skewed_bounds(spread: _Spread) -> tuple[float, float]:
    """Distances of the bounds of a mean without limits below and above it.

    A t interval, widened where the values have their long tail: there it is too narrow, by skewness (1 + 2 t^2) / 6
    standard errors in the first order (Johnson 1978, Hall 1992). Twice that, because few episodes seldom contain the
    far tail and show half of the skewness; half the degrees of freedom, because their variance is then too small, too.
    The other side is not narrowed.
    """
    t = _t_quantile(max(1.0, spread.degrees_of_freedom / 2))
    tail = 2 * spread.skewness * (1 + 2 * t**2) / 6
    error = math.sqrt(spread.variance)
    return error * (t + max(0.0, -tail)), error * (t + max(0.0, tail))


def _beta_bounds(fraction: float, n: float) -> tuple[float, float]:
    """Clopper and Pearson's bounds of a fraction of n observations, where n need not be whole."""
    k = fraction * n
    low = float(betaincinv(k, n - k + 1, 1 - TAIL)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, TAIL)) if fraction < 1 else 1.0
    return low, high


def _t_quantile(degrees_of_freedom: float) -> float:
    return float(stdtrit(degrees_of_freedom, TAIL))


def _episodes_with_counts(
    sums: Sequence[float | int] | np.ndarray, counts: Sequence[float | int] | np.ndarray
) -> tuple[Float64[np.ndarray, " E"], Float64[np.ndarray, " E"]]:
    count = np.asarray(counts, np.float64)
    return np.asarray(sums, np.float64)[count > 0], count[count > 0]


def sums_by_episode(
    values: Float64[np.ndarray, " N"], episodes: np.ndarray
) -> tuple[Float64[np.ndarray, " E"], Float64[np.ndarray, " E"]]:
    """Returns the sum of the values and the number of frames of each episode."""
    _, index = np.unique(episodes, return_inverse=True)
    # Without values, bincount forgets that they are floating-point numbers.
    return np.bincount(index, values).astype(np.float64), np.bincount(index).astype(np.float64)


def _fraction_below(values: Float64[np.ndarray, " N"], others: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " N"]:
    """Fraction of `others` below each value; equal ones count half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(others))
