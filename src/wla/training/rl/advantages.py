"""Advantages of episodes: how much better each was than the others of its group, which began alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wla.training.rl.configs import RLTrainConfig
from wla.training.rl.rollouts import Rollout

SUCCESS_RANGE = (0.1, 0.9)
"""Mean success of a group that tells good episodes from bad ones."""
Values = Float64[np.ndarray, " E"]
Groups = Int64[np.ndarray, " E"]


@dataclass(frozen=True)
class Advantages:
    """values: advantage of each of the E episodes. kept: whether it is learned from. spread: mean standard deviation of
    the reward within the groups."""

    values: Values
    kept: Bool[np.ndarray, " E"]
    spread: float

    @classmethod
    def of(cls, episodes: Sequence[Rollout], config: RLTrainConfig) -> Self:
        """Rewards, normalised in each group; groups that tell nothing are left out where the recipe filters."""
        rewards = np.array([episode.reward(config) for episode in episodes])
        groups = np.array([episode.number // config.group_size for episode in episodes])
        bounds = SUCCESS_RANGE if config.reward == "success" else None
        kept = informative(rewards, groups, bounds) if config.group_filter else np.ones(len(rewards), bool)
        return cls(normalize_in_groups(rewards, groups), kept, group_spread(rewards, groups))

    def metrics(self) -> dict[str, float]:
        """Metrics for the log."""
        return {"group_spread": self.spread, "kept_fraction": float(self.kept.mean())}


def normalize_in_groups(values: Values, groups: Groups) -> Values:
    """Values (E,) less the mean of their group and divided by its standard deviation; 0 where all are the same."""
    normalized = np.zeros_like(values)
    for group in np.unique(groups):
        own = groups == group
        deviation = values[own].std()
        if deviation > 1e-8:
            normalized[own] = (values[own] - values[own].mean()) / deviation
    return normalized


def group_spread(values: Values, groups: Groups) -> float:
    """Mean standard deviation within the groups."""
    return float(np.mean([values[groups == group].std() for group in np.unique(groups)]))


def informative(values: Values, groups: Groups, bounds: tuple[float, float] | None) -> Bool[np.ndarray, " E"]:
    """Whether an episode's group has different values, and a mean within the bounds if there are any."""
    kept = np.zeros(len(values), bool)
    for group in np.unique(groups):
        own = groups == group
        mean = values[own].mean()
        kept[own] = values[own].std() > 1e-8 and (bounds is None or bounds[0] <= mean <= bounds[1])
    return kept
