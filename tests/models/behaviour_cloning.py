"""A second kind of model, as an installed package would bring it: plain behaviour cloning by a small network.

Images and state -> chunk, trained by the mean squared error: no text, no images predicted, no noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from wla.batch import Batch
from wla.config import Config
from wla.models.losses import masked_mean
from wla.models.model import ModelEncoding, ModelInputs, PolicyModel, Target
from wla.models.model_config import ModelInterface, PolicyModelConfig


class LossWeights(Config):
    action: float = 1.0


class BehaviourCloningConfig(PolicyModelConfig):
    """cameras: camera -> side of its image. width: of the hidden layer."""

    kind: Literal["behaviour_cloning"] = "behaviour_cloning"
    cameras: dict[str, int]
    state_dim: int
    action_dim: int
    chunk: int
    width: int = 64
    loss_weights: LossWeights = LossWeights()

    @property
    def interface(self) -> ModelInterface:
        return ModelInterface(
            images=self.cameras,
            primary=next(iter(self.cameras)),
            state_dim=self.state_dim,
            action_dim=self.action_dim,
            chunk=self.chunk,
        )

    def build(self, *, imagination: bool = True) -> BehaviourCloning:
        return BehaviourCloning(self)


@dataclass(frozen=True)
class Features(ModelEncoding):
    """chunk: the prediction, (B, n, A)."""

    chunk: Tensor


class BehaviourCloning(PolicyModel[Features]):
    config: BehaviourCloningConfig
    loss_targets: ClassVar[Mapping[str, Target]] = {"action": "actions"}

    def __init__(self, config: BehaviourCloningConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        )  # fmt: skip
        features = 16 * 4 * 4 * len(config.cameras) + config.state_dim
        self.head = nn.Sequential(
            nn.Linear(features, config.width), nn.ReLU(), nn.Linear(config.width, config.chunk * config.action_dim)
        )

    def compute_loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        error = (self._predict(batch.images, batch.state) - batch.actions).square()
        return {"action": masked_mean(error, batch.action_mask)}

    def encode(self, inputs: ModelInputs) -> Features:
        return Features(inputs, inputs.texts, self._predict(inputs.images, inputs.proprio))

    def sample_actions(
        self,
        encoding: Features,
        *,
        noise: Tensor,
        num_steps: int | None = None,
        prefix: Tensor | None = None,
        delay: int | None = None,
    ) -> Tensor:
        if prefix is not None:
            raise ValueError("behaviour cloning does not continue a given prefix of actions; leave prefix out")
        return encoding.chunk.repeat(len(noise) // len(encoding.chunk), 1, 1)

    def _predict(self, images: Mapping[str, Tensor], state: Tensor) -> Tensor:
        seen = [self.encoder(images[name].permute(0, 3, 1, 2).float() / 127.5 - 1) for name in self.config.cameras]
        return self.head(torch.cat([*seen, state], dim=1)).unflatten(1, (self.config.chunk, self.config.action_dim))
