"""Advantages of episodes: how much better each was than the others of its group, which began alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool

from wla.training.rl.configs import RLTrainConfig
from wla.training.rl.groups import Values, add_speed, group_means, group_spread, informative, normalize_in_groups
from wla.training.rl.rollouts import Rollouts

SUCCESS_RANGE = (0.1, 0.9)
"""Mean success of a group that tells good episodes from bad ones."""


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
            speeds = -rollouts.mean_steps / max(config.speed.flow_steps)
            values = add_speed(rewards, speeds, groups, weight=config.speed.weight, decoupled=config.speed.decoupled)
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
