"""Training the image codec: reconstruction of scenes and of dataset frames. It stays frozen in every other training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wla import runtime
from wla.files import atomic_dir
from wla.models.image_codec import ImageCodec
from wla.training.datasets import open_datasets
from wla.training.objective import BaseObjective, StepLosses
from wla.training.objectives.configs import CodecTrainConfig
from wla.weights import save_weights

CONFIG, WEIGHTS = "codec.json", "codec.safetensors"


class CodecObjective(BaseObjective):
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: CodecTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        self.codec = ImageCodec(config.codec)
        self._frames = [dataset.frames(config.camera) for dataset in open_datasets(config.datasets)]
        self._ends = np.cumsum([len(frames) for frames in self._frames])

    @property
    def module(self) -> nn.Module:
        return self.codec

    def sample_batch(self, samples: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Images, and which frames they are."""
        chosen = torch.randint(int(self._ends[-1]), (samples,), generator=generator).tolist()
        images = torch.from_numpy(np.stack([self._frame(index) for index in chosen]))
        return images, [f"frame {index}" for index in chosen]

    def compute_losses(
        self, step: int, batch: tuple[Tensor, list[str]], device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        images = batch[0].to(device)
        target = self.codec.to_unit(images)
        error = self.codec.reconstruct(images).float() - target
        squared = error.square().mean()
        # The absolute error keeps small objects sharp, which the squared error alone trades away.
        loss = error.abs().mean() + squared
        return {"loss": loss, "psnr": 10 * torch.log10(4 / squared.detach())}, batch[1]

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The weights, and the configuration with the scale that gives the latents unit variance."""
        codec = ImageCodec(self.config.codec)
        codec.load_state_dict(weights)
        with torch.no_grad():
            images = torch.from_numpy(np.stack([self._frame(i) for i in range(0, int(self._ends[-1]), 97)][:256]))
            spread = float(codec.encode(images).std()) / self.config.codec.scaling_factor
        config = self.config.codec.replace(scaling_factor=1 / spread)
        with atomic_dir(folder, replaces=(CONFIG, WEIGHTS)) as fresh:
            config.save(fresh / CONFIG)
            save_weights(weights, fresh / WEIGHTS)

    def resume(self, folder: Path) -> bool:
        """Images have one range, whatever the data."""
        return False

    def _frame(self, index: int) -> np.ndarray:
        source = int(np.searchsorted(self._ends, index, side="right"))
        return self._frames[source][index - (int(self._ends[source - 1]) if source else 0)]
