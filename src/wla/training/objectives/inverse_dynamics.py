"""Training inverse dynamics on a robot's episodes with actions, to label the actions of its videos without any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wla import runtime
from wla.data.normalize import compute_statistics
from wla.models.configs import InverseConfig
from wla.models.inverse_dynamics import InverseDynamics
from wla.policy.inverse_checkpoint import InverseCheckpoint, InverseCheckpointConfig, load_inverse
from wla.training.datasets import open_datasets
from wla.training.objective import BaseObjective, StepLosses
from wla.training.objectives.configs import InverseDynamicsTrainConfig
from wla.training.objectives.inverse_dynamics_data import InverseBatch, InverseData
from wla.training.objectives.policy_data import common_robot_spec


class InverseDynamicsObjective(BaseObjective):
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: InverseDynamicsTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        self.config = config
        self._datasets = datasets = open_datasets(config.datasets)
        robot = common_robot_spec(datasets)
        for dataset in datasets:
            if dataset.actions is None:
                raise ValueError(f"{dataset.root}: has no actions to learn from")
        action = compute_statistics(datasets).action
        assert action is not None
        sizes = InverseConfig(cameras=config.cameras, action_dim=robot.action.dim)
        self.inverse = InverseCheckpoint(
            InverseCheckpointConfig(model=sizes, action=action, robot=robot), InverseDynamics(sizes)
        )
        self.data = InverseData(datasets, self.inverse)

    @property
    def module(self) -> nn.Module:
        return self.inverse.model

    def sample_batch(self, samples: int, generator: torch.Generator) -> InverseBatch:
        return self.data.sample_batch(samples, generator)

    def compute_losses(
        self, step: int, batch: InverseBatch, device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        found = self.inverse.model({name: image.to(device) for name, image in batch.images.items()})
        wanted = torch.from_numpy(self.inverse.standardize(batch.actions)).to(device)
        return {"loss": self.inverse.model.loss(found, wanted)}, batch.names

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """With the fraction of each dimension's variance that is explained in the held-out episodes."""
        model = InverseDynamics(self.inverse.config.model)
        model.load_state_dict(weights)
        trained = InverseCheckpoint(self.inverse.config, model.eval())
        images, actions, _ = self.data.heldout_batch()
        found = trained.actions(images)
        unexplained = np.square(found - actions).mean(0) / np.maximum(actions.var(0), 1e-12)
        explained_variance = tuple(round(float(1 - fraction), 4) for fraction in unexplained)
        InverseCheckpoint(self.inverse.config.replace(explained_variance=explained_variance), model).save(folder)

    def resume(self, folder: Path) -> bool:
        before, action = self.inverse.config, load_inverse(folder).config.action
        self.inverse = InverseCheckpoint(before.replace(action=action), self.inverse.model)
        self.data = InverseData(self._datasets, self.inverse)
        return not action.agrees(before.action)
