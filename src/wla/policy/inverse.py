"""A trained model of inverse dynamics in a folder: its weights, its robot and the range of its actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor

from wla.config import Config
from wla.data.lerobot import LeRobotDataset
from wla.data.normalize import VectorStatistics
from wla.data.transforms import resize
from wla.files import replacing
from wla.models.inverse import InverseConfig, InverseDynamics
from wla.specs import RobotSpec
from wla.weights import load_weights, save_weights

CONFIG, WEIGHTS = "inverse.json", "inverse.safetensors"


class InverseFile(Config):
    """What inverse.json holds."""

    model: InverseConfig
    action: VectorStatistics
    robot: RobotSpec


@dataclass(frozen=True)
class Inverse:
    """A model of inverse dynamics with its units."""

    config: InverseFile
    model: InverseDynamics

    def standardize(self, actions: Float32[np.ndarray, "B A"]) -> Float32[np.ndarray, "B A"]:
        """In standard deviations from the mean: rare motions are small in all others' units."""
        mean, std = self._spread()
        return ((actions - mean) / std).astype(np.float32)

    def look(self, dataset: LeRobotDataset, frames: Int64[np.ndarray, " B"]) -> dict[str, UInt8[Tensor, "B F S S 3"]]:
        """What the model sees of these frames of a dataset: themselves and those after, the last one again at an
        episode's end."""
        lasts = np.array([dataset.episode_of(int(frame)).end - 1 for frame in frames])
        places = np.minimum(frames[:, None] + np.arange(1 + self.config.model.after), lasts[:, None])
        return {
            camera: resize(dataset.frames(camera)[places.ravel()], side).unflatten(0, places.shape)
            for camera, side in self.config.model.cameras.items()
        }

    @torch.inference_mode()
    def actions(self, images: Mapping[str, UInt8[Tensor, "B F S S 3"]]) -> Float32[np.ndarray, "B A"]:
        """In the robot's units, within the range of the actions that it learned from."""
        device = next(self.model.parameters()).device
        found = self.model({camera: image.to(device) for camera, image in images.items()})
        mean, std = self._spread()
        known = self.config.action
        return np.clip(found.float().cpu().numpy() * std + mean, known.min, known.max).astype(np.float32)

    def _spread(self) -> tuple[Float64[np.ndarray, " A"], Float64[np.ndarray, " A"]]:
        """Mean and standard deviation of each dimension; one that never changed has none, and is left as it is."""
        known = self.config.action
        assert known.mean is not None
        assert known.std is not None
        std = np.array(known.std)
        return np.array(known.mean), np.where(std > 0, std, 1.0)

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        with replacing(folder) as fresh:
            self.config.save(fresh / CONFIG)
            save_weights(self.model.state_dict() if weights is None else weights, fresh / WEIGHTS)


def load_inverse(folder: str | Path) -> Inverse:
    """ValueError when the folder holds no model of inverse dynamics."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no inverse dynamics here ({CONFIG} is missing); recipes/nano_inverse.py trains it")
    config = InverseFile.load(folder / CONFIG)
    model = InverseDynamics(config.model)
    load_weights(model, folder / WEIGHTS)
    return Inverse(config, model.eval())
