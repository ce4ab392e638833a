"""The calls of the policy that are learned from: what each sampled, and how good its episode was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wla.models.experts.flow_sde import executed_mask
from wla.models.trajectory import ActionEncoding, Rows, Trajectory
from wla.training.rl.advantages import Advantages
from wla.training.rl.configs import PPOConfig, RLTrainConfig
from wla.training.rl.policy_gradient import standardized
from wla.training.rl.rollouts import Rollouts, mean_reward, success_by_task
from wla.training.rl.value_network import Estimates, ValueNetwork, estimate


@dataclass(frozen=True)
class Calls(Rows):
    """executed: the numbers of the chunk that reached the robot. advantage: of the episode, or, with PPO, of the call.
    success: of the episode. estimates: with PPO."""

    encoding: ActionEncoding
    trajectory: Trajectory
    executed: Bool[Tensor, "B n A"]
    advantage: Float[Tensor, " B"]
    success: Bool[Tensor, " B"]
    estimates: Estimates | None


def calls_of(rollouts: Rollouts, config: RLTrainConfig, value: ValueNetwork | None) -> tuple[Calls, dict[str, float]]:
    """The calls of the episodes that are learned from, each as the policy encoded it when it acted; and metrics.

    value: of PPO, as it was when the policy acted. Advantages have mean 0 and standard deviation 1 over all calls:
    failures are often longer than successes.
    """
    learned, metrics = _learned(rollouts, config)
    rows: list[int] = []
    executed: list[int] = []
    values: list[float] = []
    success: list[bool] = []
    for number, compared in learned.items():
        episode = rollouts.episodes[number]
        rows += rollouts.rows[number]
        executed += episode.executed
        values += [compared] * len(episode.executed)
        success += [episode.success] * len(episode.executed)
    device = rollouts.trajectory.actions.device
    index = torch.tensor(rows, dtype=torch.long, device=device)
    encoding, trajectory = rollouts.encoding.rows(index), rollouts.trajectory.rows(index)
    mask = executed_mask(encoding, trajectory, torch.tensor(executed, dtype=torch.long, device=device))
    estimates, advantage = None, torch.tensor(values, device=device)
    if isinstance(config.objective, PPOConfig):
        assert value is not None, "PPO trains one"
        estimates = estimate(
            value, encoding, [each.call_rewards(config) for each in rollouts.episodes], config.objective
        )
        advantage, metrics = estimates.returns - estimates.values, metrics | estimates.metrics()
    succeeded = torch.tensor(success, dtype=torch.bool, device=device)
    calls = Calls(encoding, trajectory, mask, standardized(advantage), succeeded, estimates)
    metrics |= {"reward": mean_reward(rollouts.episodes, config)} | success_by_task(rollouts.episodes)
    return calls, metrics | {"calls": float(len(rows))}


def _learned(rollouts: Rollouts, config: RLTrainConfig) -> tuple[dict[int, float], dict[str, float]]:
    """Numbers of the episodes that are learned from, with their advantages within their groups; and metrics."""
    if isinstance(config.objective, PPOConfig):
        return dict.fromkeys(range(len(rollouts.episodes)), 0.0), {}
    advantages = Advantages.of(rollouts, config)
    kept = advantages.kept.nonzero()[0].tolist()
    return {number: advantages.values[number] for number in kept}, advantages.metrics()
