"""Advantages of episodes: how much better each was than the others of its group, which began alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wla.training.rl.configs import RLTrainConfig, SpeedRewardConfig
from wla.training.rl.rollouts import Rollouts

SUCCESS_RANGE = (0.1, 0.9)
"""Mean success of a group that tells good episodes from bad ones."""
MIN_DEVIATION = 1e-8
"""Standard deviation below which values are the same but for rounding."""
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
    def of(cls, rollouts: Rollouts, config: RLTrainConfig) -> Self:
        """Rewards, normalised in each group; groups that tell nothing are left out where the recipe filters."""
        episodes = rollouts.episodes
        rewards = np.array([episode.reward(config) for episode in episodes])
        groups = np.array([episode.number // config.group_size for episode in episodes])
        spread = group_spread(rewards, groups)
        if config.speed is not None:
            values = add_speed(rewards, -rollouts.mean_steps, groups, config.speed)
            succeeded = np.array([float(episode.success) for episode in episodes])
            kept = informative(values, groups) & (group_means(succeeded, groups) > 0)
        else:
            values, kept = normalize_in_groups(rewards, groups), informative(rewards, groups)
            if config.reward == "success":
                means = group_means(rewards, groups)
                kept &= (SUCCESS_RANGE[0] <= means) & (means <= SUCCESS_RANGE[1])
        return cls(values, kept if config.group_filter else np.ones(len(rewards), bool), spread)

    def metrics(self) -> dict[str, float]:
        """Metrics for the log."""
        return {"group_spread": self.spread, "kept_fraction": float(self.kept.mean())}


def normalize_in_groups(values: Values, groups: Groups) -> Values:
    """Values (E,) less the mean of their group and divided by its standard deviation; 0 where all are the same."""
    centred = values - group_means(values, groups)
    deviations = np.sqrt(group_means(centred**2, groups))
    return np.where(deviations > MIN_DEVIATION, centred / np.maximum(deviations, MIN_DEVIATION), 0.0)


def add_speed(rewards: Values, speeds: Values, groups: Groups, config: SpeedRewardConfig) -> Values:
    """Advantages of both together. speeds: minus the mean number of flow steps of each episode."""
    if config.decoupled:
        return normalize_in_groups(rewards, groups) + config.weight * normalize_in_groups(speeds, groups)
    return normalize_in_groups(rewards + config.weight * speeds / max(config.flow_steps), groups)


def group_means(values: Values, groups: Groups) -> Values:
    """The mean of its group for each episode."""
    means = np.empty_like(values)
    for group in np.unique(groups):
        means[groups == group] = values[groups == group].mean()
    return means


def group_spread(values: Values, groups: Groups) -> float:
    """Mean standard deviation within the groups."""
    return float(np.mean([values[groups == group].std() for group in np.unique(groups)]))


def informative(values: Values, groups: Groups) -> Bool[np.ndarray, " E"]:
    """Whether the values of an episode's group differ."""
    return group_means((values - group_means(values, groups)) ** 2, groups) > MIN_DEVIATION**2
