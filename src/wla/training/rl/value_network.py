"""What PPO compares the calls of the policy with: the reward that a network expects from there on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wla.models.experts.action_expert import ActionExpert
from wla.models.trajectory import ActionEncoding, Rows
from wla.training.rl.configs import PPOConfig

WIDTH = 128
SCALE = 20.0
"""Of the values, because the learning rates suit the policy's weights: at 3e-5 a hundred steps hardly reach 0.1."""


class ValueNetwork(nn.Module):
    """Expected discounted reward from a call on, of the mean state of the meta-queries and of proprioception.

    Nothing of it reaches the backbone: encodings are computed once, when the policy acts.
    """

    def __init__(self, expert: ActionExpert) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(expert.condition_width)
        self.hidden = nn.Linear(expert.condition_width + expert.config.state_dim, WIDTH)
        self.out = nn.Linear(WIDTH, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, encoding: ActionEncoding) -> Float[Tensor, " B"]:
        states = self.norm(encoding.query_hidden[-1].mean(1).float())
        hidden = nn.functional.silu(self.hidden(torch.cat([states, encoding.proprio.float()], dim=1)))
        return SCALE * self.out(hidden)[:, 0]


@dataclass(frozen=True)
class Estimates(Rows):
    """Of each call: its value when the policy acted, and that value corrected by what followed."""

    values: Float[Tensor, " B"]
    returns: Float[Tensor, " B"]

    def metrics(self) -> dict[str, float]:
        """Metrics for the log. explained_variance: 1 where values foretell the returns, 0 for a constant."""
        spread = float(self.returns.var(correction=0))
        error = float((self.returns - self.values).var(correction=0))
        return {"value_mean": float(self.values.mean()), "explained_variance": 1 - error / max(spread, 1e-8)}


@torch.no_grad()
def estimate(
    value: ValueNetwork, encoding: ActionEncoding, rewards: Sequence[Sequence[float]], config: PPOConfig
) -> Estimates:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438), added to the values.

    encoding: of the calls of all episodes, one behind the other. rewards: of each episode's calls; after the last one
    there is nothing to expect.
    """
    values = value(encoding)
    advantages, first = [], 0
    for episode in rewards:
        own = values[first : first + len(episode)].tolist()
        advantages += generalized_advantages(episode, own, config.discount, config.gae_lambda)
        first += len(episode)
    return Estimates(values, values + torch.tensor(advantages, device=values.device))


def generalized_advantages(
    rewards: Sequence[float], values: Sequence[float], discount: float, gae_lambda: float
) -> list[float]:
    """Advantages of an episode's calls, each the discounted sum of what was better than expected from there on."""
    found, later, following = [], 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        later = reward + discount * following - value + discount * gae_lambda * later
        following = value
        found.append(later)
    return found[::-1]
