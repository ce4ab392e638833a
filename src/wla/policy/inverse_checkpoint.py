"""A trained model of inverse dynamics in a folder: its weights, its robot and the range of its actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.normalize import VectorStatistics
from wla.data.transforms import resize
from wla.files import atomic_dir
from wla.models.inverse_dynamics import InverseConfig, InverseDynamics
from wla.specs import RobotSpec
from wla.weights import load_weights, save_weights

CONFIG, WEIGHTS = "inverse.json", "inverse.safetensors"
MIN_EXPLAINED_VARIANCE = 0.5
"""The least share of a dimension's variance that must be explained for the dimension to be named at all: what is not
seen in the frames comes out near its mean, and learned from, it would teach hands to stay."""


class InverseCheckpointConfig(Config):
    """What inverse.json holds. explained: of each dimension of the action, the share of its variance that the model
    explains in episodes that it did not learn from; None before that was measured."""

    model: InverseConfig
    action: VectorStatistics
    robot: RobotSpec
    explained_variance: tuple[float, ...] | None = None


@dataclass(frozen=True)
class InverseCheckpoint:
    """A model of inverse dynamics with its units."""

    config: InverseCheckpointConfig
    model: InverseDynamics

    @property
    def reliable_dimensions(self) -> Bool[np.ndarray, " A"]:
        """Which dimensions of the action it can tell."""
        if self.config.explained_variance is None:
            return np.ones(self.config.model.action_dim, bool)
        return np.array(self.config.explained_variance) >= MIN_EXPLAINED_VARIANCE

    def standardize(self, actions: Float32[np.ndarray, "B A"]) -> Float32[np.ndarray, "B A"]:
        """In standard deviations from the mean: rare motions are small in all others' units."""
        mean, std = self._mean_and_std()
        return ((actions - mean) / std).astype(np.float32)

    def load_images(
        self, dataset: LeRobotDataset, frames: Int64[np.ndarray, " B"]
    ) -> dict[str, UInt8[Tensor, "B F S S 3"]]:
        """What the model sees of these frames of a dataset: themselves and those after, the last one again at an
        episode's end."""
        lasts = np.array([dataset.episode_of(int(frame)).end - 1 for frame in frames])
        places = np.minimum(frames[:, None] + np.arange(1 + self.config.model.lookahead), lasts[:, None])
        return {
            camera: resize(dataset.frames(camera)[places.ravel()], side).unflatten(0, places.shape)
            for camera, side in self.config.model.cameras.items()
        }

    @torch.inference_mode()
    def actions(self, images: Mapping[str, UInt8[Tensor, "B F S S 3"]]) -> Float32[np.ndarray, "B A"]:
        """In the robot's units, within the range of the actions that it learned from; nan in dimensions that it cannot
        tell (`MIN_EXPLAINED_VARIANCE`)."""
        device = next(self.model.parameters()).device
        found = self.model({camera: image.to(device) for camera, image in images.items()})
        mean, std = self._mean_and_std()
        known = self.config.action
        actions = np.clip(found.float().cpu().numpy() * std + mean, known.min, known.max).astype(np.float32)
        actions[:, ~self.reliable_dimensions] = np.nan
        return actions

    def _mean_and_std(self) -> tuple[Float64[np.ndarray, " A"], Float64[np.ndarray, " A"]]:
        """Mean and standard deviation of each dimension; one that never changed has none, and is left as it is."""
        known = self.config.action
        assert known.mean is not None
        assert known.std is not None
        std = np.array(known.std)
        return np.array(known.mean), np.where(std > 0, std, 1.0)

    def save(self, folder: Path) -> None:
        with atomic_dir(folder) as fresh:
            self.config.save(fresh / CONFIG)
            save_weights(self.model.state_dict(), fresh / WEIGHTS)


def load_inverse(folder: str | Path) -> InverseCheckpoint:
    """ValueError when the folder holds no model of inverse dynamics."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no inverse dynamics model ({CONFIG} is missing); `wla train nano_inverse`")
    config = InverseCheckpointConfig.load(folder / CONFIG)
    model = InverseDynamics(config.model)
    load_weights(model, folder / WEIGHTS)
    return InverseCheckpoint(config, model.eval())
