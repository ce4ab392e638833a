"""Losses of a minibatch of the policy's calls, given how good their episodes were."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.flow_sde import executed_mask, log_density, step_distribution
from wla.models.trajectory import ActionEncoding, Rows, Trajectory
from wla.training.rl.advantages import Advantages
from wla.training.rl.configs import GRPOConfig, RLTrainConfig
from wla.training.rl.rollouts import Rollouts

MAX_LOG_RATIO = 10.0
"""Beyond it the exponential would only overflow."""


@dataclass(frozen=True)
class Calls(Rows):
    """Calls of the policy that are learned from.

    executed: the numbers of the chunk that reached the robot. advantage: of the episode. reference: mean of the
    stochastic step under the policy that training started from.
    """

    encoding: ActionEncoding
    trajectory: Trajectory
    executed: Bool[Tensor, "B n A"]
    advantage: Float[Tensor, " B"]
    reference: Float[Tensor, "B n A"]


@torch.no_grad()
def calls_of(rollouts: Rollouts, advantages: Advantages, reference: ActionExpert, config: RLTrainConfig) -> Calls:
    """The calls of the episodes that are learned from, each as the policy encoded it when it acted."""
    rows: list[int] = []
    executed: list[int] = []
    values: list[float] = []
    for number in advantages.kept.nonzero()[0].tolist():
        episode = rollouts.episodes[number]
        rows += rollouts.rows[number]
        executed += episode.executed
        values += [advantages.values[number]] * len(episode.executed)
    device = rollouts.trajectory.actions.device
    index = torch.tensor(rows, dtype=torch.long, device=device)
    encoding, trajectory = rollouts.encoding.rows(index), rollouts.trajectory.rows(index)
    mask = executed_mask(encoding, trajectory, torch.tensor(executed, dtype=torch.long, device=device))
    means = [trajectory.mean[:0]]
    for part in torch.arange(len(rows), device=device).split(config.loop.batch_size) if rows else ():
        mean, _ = step_distribution(reference, encoding.rows(part), trajectory.rows(part), config.grpo.noise_level)
        means.append(mean)
    advantage = torch.tensor(values, dtype=torch.float32, device=device)
    return Calls(encoding, trajectory, mask, advantage, torch.cat(means))


def grpo_loss(expert: ActionExpert, calls: Calls, config: GRPOConfig) -> dict[str, Tensor]:
    """Terms: `loss`, and for the log the mean probability ratio, the fraction that is clipped, and the divergence from
    the policy that training started from (`kl`) and from the one that acted (`kl_update`, an estimate)."""
    taken, executed = calls.trajectory, calls.executed
    mean, std = step_distribution(expert, calls.encoding, taken, config.noise_level)
    before = log_density(taken.after, taken.mean, std, executed)
    log_ratio = (log_density(taken.after, mean, std, executed) - before).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
    surrogate = -torch.minimum(ratio * calls.advantage, clipped * calls.advantage).mean()
    # Two normal distributions of the same standard deviation.
    divergence = (((mean - calls.reference) / std).square() / 2 * executed).sum((1, 2)).mean()
    return {
        "loss": surrogate + config.kl_weight * divergence,
        "kl": divergence,
        "kl_update": (ratio - 1 - log_ratio).mean(),
        "ratio": ratio.mean(),
        "clip_fraction": (ratio != clipped).float().mean(),
    }
