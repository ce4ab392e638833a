"""The calls of the policy that are learned from: what each sampled, and how good its episode was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wla.models.experts.flow_sde import executed_mask
from wla.models.trajectory import ActionEncoding, Rows, Trajectory
from wla.training.rl.advantages import Advantages
from wla.training.rl.configs import RLTrainConfig
from wla.training.rl.policy_gradient import standardized
from wla.training.rl.rollouts import Rollouts, mean_reward, success_by_task


@dataclass(frozen=True)
class Calls(Rows):
    """executed: the numbers of the chunk that reached the robot. advantage, success: of the episode."""

    encoding: ActionEncoding
    trajectory: Trajectory
    executed: Bool[Tensor, "B n A"]
    advantage: Float[Tensor, " B"]
    success: Bool[Tensor, " B"]


def calls_of(rollouts: Rollouts, config: RLTrainConfig) -> tuple[Calls, dict[str, float]]:
    """The calls of the episodes that are learned from, each as the policy encoded it when it acted; and metrics.

    Their advantages have mean 0 and standard deviation 1 over all of them: failures are often longer than successes.
    """
    advantages = Advantages.of(rollouts, config)
    rows: list[int] = []
    executed: list[int] = []
    values: list[float] = []
    success: list[bool] = []
    for number in advantages.kept.nonzero()[0].tolist():
        episode = rollouts.episodes[number]
        rows += rollouts.rows[number]
        executed += episode.executed
        values += [advantages.values[number]] * len(episode.executed)
        success += [episode.success] * len(episode.executed)
    device = rollouts.trajectory.actions.device
    index = torch.tensor(rows, dtype=torch.long, device=device)
    encoding, trajectory = rollouts.encoding.rows(index), rollouts.trajectory.rows(index)
    mask = executed_mask(encoding, trajectory, torch.tensor(executed, dtype=torch.long, device=device))
    advantage = standardized(torch.tensor(values, device=device))
    calls = Calls(encoding, trajectory, mask, advantage, torch.tensor(success, dtype=torch.bool, device=device))
    metrics = {"reward": mean_reward(rollouts.episodes, config)} | success_by_task(rollouts.episodes)
    return calls, metrics | advantages.metrics() | {"calls": float(len(rows))}
