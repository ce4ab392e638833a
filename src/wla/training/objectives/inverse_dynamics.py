"""Training inverse dynamics on a robot's episodes with actions, to name those of its videos without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.normalize import compute_statistics
from wla.data.transforms import paste_distractors
from wla.models.inverse_dynamics import InverseConfig, InverseDynamics
from wla.policy.inverse_checkpoint import InverseCheckpoint, InverseCheckpointConfig
from wla.training.datasets import open_datasets
from wla.training.objectives.policy import common_robot_spec
from wla.training.sampling import numpy_rng, sample_frames
from wla.training.trainer import LoopConfig, StepLosses

HOLDOUT_EVERY = 20
"""Of so many episodes one is kept to measure with."""
MAX_EVAL_FRAMES = 2048
"""Frames to measure with, at most."""
NUM_DISTRACTORS, MAX_DISTRACTOR_SIZE = 6, 0.25
"""How many things that stand still are pasted over the frames, and their size: what videos show may never have stood
there before, and a dark plate is not the dark hand."""


class InverseDynamicsTrainConfig(Config):
    """Recipe of a model of inverse dynamics."""

    cameras: dict[str, int]
    """Camera -> side of its images."""
    datasets: tuple[str, ...]
    """Datasets of one robot, with actions."""
    loop: LoopConfig

    def build(self) -> InverseDynamicsObjective:
        return InverseDynamicsObjective(self)


class InverseBatch(NamedTuple):
    """Frames: what is seen around each, the actions (B, A) in environment units, and their names."""

    images: dict[str, Tensor]
    actions: np.ndarray
    names: list[str]


class InverseDynamicsObjective:
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: InverseDynamicsTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        self.datasets = open_datasets(config.datasets)
        robot = common_robot_spec(self.datasets)
        for dataset in self.datasets:
            if dataset.actions is None:
                raise ValueError(f"{dataset.root}: has no actions to learn from")
        action = compute_statistics(self.datasets).action
        assert action is not None
        sizes = InverseConfig(cameras=config.cameras, action_dim=robot.action.dim)
        self.inverse = InverseCheckpoint(
            InverseCheckpointConfig(model=sizes, action=action, robot=robot), InverseDynamics(sizes)
        )
        parts = [_split_frames(dataset) for dataset in self.datasets]
        self._train_frames, self._heldout_frames = zip(*parts, strict=True)

    @property
    def module(self) -> nn.Module:
        return self.inverse.model

    def sample_batch(self, samples: int, generator: torch.Generator) -> InverseBatch:
        rng = numpy_rng(generator)
        shown = self._load_batch(self._train_frames, samples, rng)
        distracted = {
            name: paste_distractors(image, rng, patches=NUM_DISTRACTORS, max_size=MAX_DISTRACTOR_SIZE)
            for name, image in shown.images.items()
        }
        return shown._replace(images=distracted)

    def compute_losses(
        self, step: int, batch: InverseBatch, device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        found = self.inverse.model({name: image.to(device) for name, image in batch.images.items()})
        wanted = torch.from_numpy(self.inverse.standardize(batch.actions)).to(device)
        return {"loss": self.inverse.model.loss(found, wanted)}, batch.names

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """With the share of each dimension's variance that is explained in the episodes that were kept apart."""
        model = InverseDynamics(self.inverse.config.model)
        model.load_state_dict(weights)
        tried = InverseCheckpoint(self.inverse.config, model.eval())
        images, actions, _ = self._load_batch(self._heldout_frames, MAX_EVAL_FRAMES, np.random.default_rng(0))
        found = tried.actions(images)
        unexplained = np.square(found - actions).mean(0) / np.maximum(actions.var(0), 1e-12)
        explained_variance = tuple(round(float(1 - share), 4) for share in unexplained)
        InverseCheckpoint(self.inverse.config.replace(explained_variance=explained_variance), model).save(folder)

    def _load_batch(self, frames: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> InverseBatch:
        """So many of these frames of the datasets."""
        looks, actions, names = [], [], []
        for number, places in sample_frames([len(some) for some in frames], count, rng):
            dataset, rows = self.datasets[number], frames[number][places]
            looks.append(self.inverse.load_images(dataset, rows))
            assert dataset.actions is not None
            actions.append(dataset.actions[rows])
            names += [dataset.frame_id(int(row)) for row in rows]
        images = {name: torch.cat([look[name] for look in looks]) for name in looks[0]}
        return InverseBatch(images, np.concatenate(actions), names)


def _split_frames(dataset: LeRobotDataset) -> tuple[np.ndarray, np.ndarray]:
    """The frames to learn from, and those to measure with; none whose recorded action was not executed.

    ValueError for a dataset of one episode, and where nothing is left.
    """
    if len(dataset.episodes) < 2:
        raise ValueError(f"{dataset.root}: has one episode; one to learn from and one to measure with are needed")
    held = np.zeros(len(dataset), bool)
    for episode in dataset.episodes[::-HOLDOUT_EVERY]:
        held[episode.start : episode.end] = True
    done = dataset.action_executed
    learned, measured = np.flatnonzero(done & ~held), np.flatnonzero(done & held)
    if not (learned.size and measured.size):
        raise ValueError(f"{dataset.root}: too few recorded actions were executed; use episodes of one who acted alone")
    return learned, measured
