"""The learner: each update runs groups of episodes with the weights as they are, and changes these by what it saw."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wla import runtime
from wla.models import WLA, require_model
from wla.policy import save_checkpoint
from wla.policy.hub import fetch_checkpoint
from wla.training import EpisodeValidation, OnPolicyObjective, RLTrainConfig
from wla.training.learner import Learner
from wla.training.rl.advantages import Advantages
from wla.training.rl.losses import Calls, calls_of, grpo_loss
from wla.training.rl.rollouts import RolloutWorkers, mean_reward, success_by_task
from wla.training.step import micro_batch_seed, require_finite


class RLObjective(OnPolicyObjective):
    """A `wla.training.objective.OnPolicyObjective`: the Action Expert of a finished policy."""

    def __init__(self, config: RLTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        if runtime.world_size() > 1:
            raise ValueError("reinforcement learning runs in one process: start it without torchrun, with num_envs=8")
        self._config = config
        self._checkpoint = fetch_checkpoint(config.policy)
        before = require_model(self._checkpoint.model, WLA, f"policy {config.policy}")
        # Without the World Expert: it is not computed, and its weights are saved as they were.
        self.model = WLA(before.config, imagination=False)
        self._before = before.state_dict()
        self.model.load_state_dict({name: self._before[name] for name in self.model.state_dict()})
        self.model.requires_grad_(False)
        self._reference = copy.deepcopy(self.model.action_expert)
        self.model.action_expert.requires_grad_(True)
        self._workers = RolloutWorkers(
            config, replace(self._checkpoint, model=self.model), runtime.device(config.loop.device)
        )

    @property
    def config(self) -> RLTrainConfig:
        return self._config

    @property
    def module(self) -> nn.Module:
        return self.model

    @property
    def episodes(self) -> int:
        return self.config.groups * self.config.group_size

    @property
    def validation(self) -> EpisodeValidation:
        return EpisodeValidation(self._validate)

    def update(self, step: int, learner: Learner, device: torch.device) -> dict[str, float]:
        self.model.eval()
        rollouts = self._workers.explore(step)
        self.model.train()
        advantages = Advantages.of(rollouts.episodes, self.config)
        record = {"reward": mean_reward(rollouts.episodes, self.config)} | success_by_task(rollouts.episodes)
        record |= advantages.metrics()
        calls = calls_of(rollouts, advantages, self._reference.to(device), self.config)
        record["calls"] = float(len(calls.advantage))
        suspects = [f"{job.variant.task} seed {job.seed}" for job in (each.job for each in rollouts.episodes)]
        return record | _means(self._optimize(step, learner, calls, suspects))

    def compute_losses(self, calls: Calls) -> dict[str, Tensor]:
        """Losses of a minibatch of calls."""
        return grpo_loss(self.model.action_expert, calls, self.config.grpo)

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the Action Expert as it is now."""
        save_checkpoint(self._checkpoint, folder, weights=self._before | weights)

    def resume(self, folder: Path) -> bool:
        """Nothing is made of data: all that a run needs is in its state and in the policy that it started from."""
        return False

    def close(self) -> None:
        self._workers.close()

    def _optimize(
        self, step: int, learner: Learner, calls: Calls, suspects: list[str]
    ) -> Iterator[Mapping[str, float]]:
        """Passes over the calls; yields the metrics of each minibatch. suspects: named where one is not finite."""
        learning_rate = learner.prepare_step(step)
        count, size = len(calls.advantage), self.config.loop.batch_size
        generator = torch.Generator().manual_seed(micro_batch_seed(self.config.loop, step, 0))
        if not count:  # no group tells good from bad: the weights stay as they are
            yield {"loss": 0.0, "grad_norm": 0.0, "lr": learning_rate}
        for _ in range(self.config.epochs if count else 0):
            for rows in torch.randperm(count, generator=generator).split(size):
                learner.prepare_step(step)
                terms = learner.loss_module(calls.rows(rows))
                learner.backward(terms["loss"])
                record = {name: float(value.detach()) for name, value in terms.items()}
                record |= {"grad_norm": learner.clip(), "lr": learning_rate}
                require_finite(step, record, suspects)
                learner.step()
                yield record

    def _validate(self, learner: Learner) -> dict[str, float]:
        with learner.evaluating():
            episodes = self._workers.validate()
        return {"reward": mean_reward(episodes, self.config)} | success_by_task(episodes)


def _means(records: Iterator[Mapping[str, float]]) -> dict[str, float]:
    every = list(records)
    return {name: sum(record[name] for record in every) / len(every) for name in every[0]}
