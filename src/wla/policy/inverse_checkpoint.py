"""Checkpoints of inverse dynamics models: a folder with weights, robot spec and the range of the actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from accelerate import init_empty_weights
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from pydantic import Field
from torch import Tensor

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.normalize import VectorStatistics
from wla.files import atomic_dir
from wla.models.configs import InverseConfig
from wla.models.inverse_dynamics import InverseDynamics
from wla.run_folder import checkpoint_folder, read_checkpoint
from wla.specs import RobotSpec
from wla.weights import load_weights, save_weights

CONFIG, WEIGHTS = "inverse.json", "inverse.safetensors"
MIN_EXPLAINED_VARIANCE = 0.5
"""Least fraction of explained variance for a dimension of the action to be labelled: a dimension that the frames do not
show is predicted near its mean, and a policy trained on such labels would learn not to move."""


class InverseCheckpointConfig(Config):
    """Contents of inverse.json.

    explained_variance: fraction of the variance of each action dimension that the model explains on held-out episodes;
    None before it was measured.
    """

    model: InverseConfig
    action: VectorStatistics
    robot: RobotSpec
    explained_variance: tuple[Annotated[float, Field(le=1)], ...] | None = None


@dataclass(frozen=True)
class InverseCheckpoint:
    """An inverse dynamics model with its robot spec and units."""

    config: InverseCheckpointConfig
    model: InverseDynamics

    @property
    def reliable_dimensions(self) -> Bool[np.ndarray, " A"]:
        """Mask (A,) of the action dimensions with at least `MIN_EXPLAINED_VARIANCE`."""
        if self.config.explained_variance is None:
            return np.ones(self.config.model.action_dim, bool)
        return np.array(self.config.explained_variance) >= MIN_EXPLAINED_VARIANCE

    def standardize(self, actions: Float32[np.ndarray, "B A"]) -> Float32[np.ndarray, "B A"]:
        """Actions in standard deviations from the mean: in robot units rare motions would hardly count."""
        mean, std = self._mean_and_std()
        return ((actions - mean) / std).astype(np.float32)

    def load_images(
        self, dataset: LeRobotDataset, frames: Int64[np.ndarray, " B"]
    ) -> dict[str, UInt8[Tensor, "B F S S 3"]]:
        """Model inputs for frames of a dataset: camera -> each frame and the `lookahead` frames after it, the last one
        repeated at an episode's end."""
        lasts = np.array([dataset.episode_of(int(frame)).end - 1 for frame in frames])
        indices = np.minimum(frames[:, None] + np.arange(1 + self.config.model.lookahead), lasts[:, None])
        return {
            camera: torch.from_numpy(np.asarray(dataset.frames(camera, side)[indices]))
            for camera, side in self.config.model.cameras.items()
        }

    @torch.inference_mode()
    def actions(self, images: Mapping[str, UInt8[Tensor, "B F S S 3"]]) -> Float32[np.ndarray, "B A"]:
        """Actions (B, A) in the robot's units, clipped to the range of the training actions; nan in dimensions that are
        not `reliable_dimensions`."""
        device = next(self.model.parameters()).device
        predictions = self.model({camera: image.to(device) for camera, image in images.items()})
        mean, std = self._mean_and_std()
        statistics = self.config.action
        actions = predictions.float().cpu().numpy() * std + mean
        actions = np.clip(actions, statistics.min, statistics.max).astype(np.float32)
        actions[:, ~self.reliable_dimensions] = np.nan
        return actions

    def _mean_and_std(self) -> tuple[Float64[np.ndarray, " A"], Float64[np.ndarray, " A"]]:
        """Mean and standard deviation (A,) per dimension, with 1 where the standard deviation is 0."""
        statistics = self.config.action
        assert statistics.mean is not None
        assert statistics.std is not None
        std = np.array(statistics.std)
        return np.array(statistics.mean), np.where(std > 0, std, 1.0)

    def save(self, folder: Path) -> None:
        with atomic_dir(folder, replaces=(CONFIG, WEIGHTS)) as fresh:
            self.config.save(fresh / CONFIG)
            save_weights(self.model.state_dict(), fresh / WEIGHTS)


def load_inverse(folder: str | Path) -> InverseCheckpoint:
    """The inverse dynamics model of a folder. ValueError when there is none."""
    return read_checkpoint(lambda: checkpoint_folder(Path(folder)), _read)


def _read(folder: Path) -> InverseCheckpoint:
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no inverse dynamics model ({CONFIG} is missing); `wla train nano_inverse`")
    config = InverseCheckpointConfig.load(folder / CONFIG)
    with init_empty_weights():
        model = InverseDynamics(config.model)
    load_weights(model, folder / WEIGHTS)
    return InverseCheckpoint(config, model.eval())
