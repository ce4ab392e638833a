"""Training inverse dynamics on a robot's episodes with actions, to name those of its videos without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.data.loader import DatasetConfig
from wla.data.normalize import compute_statistics
from wla.models.inverse import InverseConfig, InverseDynamics
from wla.policy.inverse import Inverse, InverseFile
from wla.training.draws import draw_seed
from wla.training.policy_training import one_robot
from wla.training.trainer import LoopConfig, StepLosses


class InverseTraining(Config):
    """Recipe of a model of inverse dynamics."""

    cameras: dict[str, int]
    """Camera -> side of its images."""
    datasets: tuple[str, ...]
    """Datasets of one robot, with actions."""
    loop: LoopConfig

    def build(self) -> InverseTask:
        return InverseTask(self)


class InverseTask:
    """A `wla.training.trainer.Task`."""

    def __init__(self, config: InverseTraining) -> None:
        runtime.seed_everything(config.loop.seed)
        self.datasets = [found.open() for path in config.datasets for found in DatasetConfig(path=path).expand()]
        robot = one_robot(self.datasets)
        action = compute_statistics(self.datasets).action
        if action is None:
            raise ValueError(f"{config.datasets[0]}: has no actions to learn from")
        sizes = InverseConfig(cameras=config.cameras, action_dim=robot.action.dim)
        self.inverse = Inverse(InverseFile(model=sizes, action=action, robot=robot), InverseDynamics(sizes))
        self._ends = np.cumsum([len(dataset) for dataset in self.datasets])

    @property
    def module(self) -> nn.Module:
        return self.inverse.model

    def losses(self, step: int, samples: int, device: torch.device, generator: torch.Generator) -> StepLosses:
        chosen = np.sort(draw_seed(generator).integers(int(self._ends[-1]), size=samples))
        sources = np.searchsorted(self._ends, chosen, side="right")
        looks, actions, names = [], [], []
        for number in np.unique(sources):
            dataset = self.datasets[number]
            rows = chosen[sources == number] - (int(self._ends[number - 1]) if number else 0)
            looks.append(self.inverse.look(dataset, rows))
            assert dataset.actions is not None
            actions.append(self.inverse.standardize(dataset.actions[rows]))
            names += [dataset.frame_id(int(row)) for row in rows]
        images = {camera: torch.cat([look[camera] for look in looks]).to(device) for camera in looks[0]}
        found = self.inverse.model(images)
        return {"loss": self.inverse.model.loss(found, torch.from_numpy(np.concatenate(actions)).to(device))}, names

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        self.inverse.save(folder, weights)
