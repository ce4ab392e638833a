"""The learner: each update runs groups of episodes with the weights as they are, and changes these by what it saw."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wla import runtime
from wla.policy import save_checkpoint
from wla.training import EpisodeValidation, OnPolicyObjective, RLTrainConfig
from wla.training.learner import Learner
from wla.training.rl.calls import Calls, calls_of
from wla.training.rl.losses import compute_losses
from wla.training.rl.minibatches import optimize, update_generator
from wla.training.rl.rollouts import RolloutWorkers, mean_reward, success_by_task
from wla.training.rl.trained import load_trained


class RLObjective(OnPolicyObjective):
    """A `wla.training.objective.OnPolicyObjective`: the Action Expert of a finished policy."""

    def __init__(self, config: RLTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        if runtime.world_size() > 1:
            raise ValueError("reinforcement learning runs in one process: start it without torchrun, with num_envs=8")
        self._config = config
        self._checkpoint, self._trained = load_trained(config)
        device = runtime.device(config.loop.device)
        self._workers = RolloutWorkers(config, self._checkpoint, device, self._trained)
        # Of the policy that training started from, and of the one that ran the episodes of an update.
        self._starting, self._acted = (copy.deepcopy(self._trained).to(device) for _ in range(2))
        self._trained.action_expert.requires_grad_(True)

    @property
    def config(self) -> RLTrainConfig:
        return self._config

    @property
    def module(self) -> nn.Module:
        return self._trained

    @property
    def episodes(self) -> int:
        return self.config.groups * self.config.group_size

    @property
    def validation(self) -> EpisodeValidation:
        return EpisodeValidation(self._validate)

    def update(self, step: int, learner: Learner, device: torch.device) -> dict[str, float]:
        rollouts = self._workers.explore(step)
        self._acted.load_state_dict(self._trained.state_dict())
        calls, record = calls_of(rollouts, self.config, self._acted.value)
        suspects = [f"{job.variant.task} seed {job.seed}" for job in (each.job for each in rollouts.episodes)]
        if self._trained.step_choice is not None:
            record |= self._trained.step_choice.metrics()
        loop, count = self.config.loop, len(calls.advantage)
        generator = update_generator(loop, step)
        return record | optimize(learner, loop, step, calls, count, self.config.epochs, suspects, generator)

    def compute_losses(self, batch: Calls, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a minibatch of calls."""
        return compute_losses(self._trained, self._starting, self._acted, batch, self.config, generator)

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the Action Expert as it is now; it acts in the most likely number of flow steps."""
        expert = {name: value for name, value in weights.items() if name.startswith("action_expert.")}
        config, changes = self._checkpoint.config, {} if (steps := self._flow_steps) is None else {"flow_steps": steps}
        expert_config = self._trained.action_expert.config.replace(**changes)
        config = config.replace(model=config.model.replace(action_expert=expert_config))
        save_checkpoint(
            replace(self._checkpoint, config=config), folder, weights=self._checkpoint.model.state_dict() | expert
        )

    def resume(self, folder: Path) -> bool:
        """Nothing is made of data: all that a run needs is in its state and in the policy that it started from."""
        return False

    def close(self) -> None:
        self._workers.close()

    @property
    def _flow_steps(self) -> int | None:
        """The number of flow steps that was learned, if any."""
        return None if self._trained.step_choice is None else self._trained.step_choice.most_likely

    def _validate(self, learner: Learner) -> dict[str, float]:
        with learner.evaluating():
            episodes = self._workers.validate(self._flow_steps)
        return {"reward": mean_reward(episodes, self.config)} | success_by_task(episodes)
