"""Values compared within groups whose members began alike: episodes of one seed, texts after one prompt."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64

MIN_DEVIATION = 1e-8
"""Standard deviation below which values are the same but for rounding."""
Values = Float64[np.ndarray, " E"]
Groups = Int64[np.ndarray, " E"]


def normalize_in_groups(values: Values, groups: Groups) -> Values:
    """Values (E,) less the mean of their group and divided by its standard deviation; 0 where all are the same."""
    centred = values - group_means(values, groups)
    deviations = np.sqrt(group_means(centred**2, groups))
    return np.where(deviations > MIN_DEVIATION, centred / np.maximum(deviations, MIN_DEVIATION), 0.0)


def add_speed(rewards: Values, speeds: Values, groups: Groups, *, weight: float, decoupled: bool) -> Values:
    """Advantages of both together. decoupled: normalised on their own before they are added, after LightningRL."""
    if decoupled:
        return normalize_in_groups(rewards, groups) + weight * normalize_in_groups(speeds, groups)
    return normalize_in_groups(rewards + weight * speeds, groups)


def group_means(values: Values, groups: Groups) -> Values:
    """The mean of its group for each episode."""
    means = np.empty_like(values)
    for group in np.unique(groups):
        means[groups == group] = values[groups == group].mean()
    return means


def group_spread(values: Values, groups: Groups) -> float:
    """Mean standard deviation within the groups."""
    return float(np.mean([values[groups == group].std() for group in np.unique(groups)]))


def group_range(values: Values, groups: Groups) -> Values:
    """The largest value of its group less the smallest, for each episode."""
    ranges = np.empty_like(values)
    for group in np.unique(groups):
        ranges[groups == group] = np.ptp(values[groups == group])
    return ranges


def informative(values: Values, groups: Groups) -> Bool[np.ndarray, " E"]:
    """Whether the values of an episode's group differ."""
    return group_means((values - group_means(values, groups)) ** 2, groups) > MIN_DEVIATION**2
