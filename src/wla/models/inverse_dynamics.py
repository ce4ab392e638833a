"""Inverse dynamics: a few frames in a row -> the action that was taken at the first. It names what a video does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from jaxtyping import Float, UInt8
from pydantic import Field, model_validator
from torch import Tensor, nn

from wla.config import Config
from wla.models.backbones.nano import ResidualConv

MOTION_SCALE = 10
"""A step moves things by a tenth of the image or less: times this, motions are as large as places."""


class InverseConfig(Config):
    """Sizes. cameras: camera -> side of the (square) images, a multiple of 4."""

    cameras: dict[str, int] = Field(min_length=1)
    action_dim: int = Field(ge=1)
    lookahead: int = Field(default=2, ge=1)
    """How many frames after the action it sees, beside the one before: a finger takes more than one step to close."""
    channels: tuple[int, int] = (16, 32)
    num_keypoints: int = 32
    """Places that it follows in each camera's images."""
    width: int = 256

    @model_validator(mode="after")
    def _check_image_sides(self) -> Self:
        for camera, side in self.cameras.items():
            if side % 4:
                raise ValueError(f"cameras.{camera}: {side} pixels are no multiple of 4")
        return self


class SpatialSoftmax(nn.Module):
    """Where in an image each of several learned things is: the mean place under a softmax of features (spatial softmax,
    Levine et al. 2016, arXiv 1504.00702), which is finer than a pixel. What moved is then a difference."""

    def __init__(self, channels: tuple[int, int], num_keypoints: int) -> None:
        super().__init__()
        first, second = channels
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            ResidualConv(second),
            ResidualConv(second),
            nn.SiLU(),
            nn.Conv2d(second, num_keypoints, 1),
        )
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B P2"]:
        """Places between -1 and 1: all across, then all down."""
        pixels = images.permute(0, 3, 1, 2).to(self.sharpness.dtype).div_(127.5).sub_(1.0)
        features = self.features(pixels.contiguous(memory_format=torch.channels_last)).float()
        share = (self.sharpness * features).flatten(2).softmax(-1).unflatten(2, features.shape[2:])
        axis = torch.linspace(-1, 1, features.shape[-1], device=features.device)
        return torch.cat([share.sum(2) @ axis, share.sum(3) @ axis], dim=1)


class InverseDynamics(nn.Module):
    """Points of every camera and frame; layers on where they are at first, and on how they move from there."""

    def __init__(self, config: InverseConfig) -> None:
        super().__init__()
        self.config = config
        self.keypoint_encoders = nn.ModuleDict(
            {camera: SpatialSoftmax(config.channels, config.num_keypoints) for camera in config.cameras}
        )
        seen = 2 * config.num_keypoints * len(config.cameras) * (1 + config.lookahead)
        self.head = nn.Sequential(
            nn.Linear(seen, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.action_dim),
        )

    def forward(self, images: Mapping[str, UInt8[Tensor, "B F S S 3"]]) -> Float[Tensor, "B A"]:
        """The action between the first frame and the second, in standard deviations from its mean. F is 1 + `lookahead`."""
        seen = []
        for camera, eye in self.keypoint_encoders.items():
            places = eye(images[camera].flatten(0, 1)).unflatten(0, images[camera].shape[:2])
            seen += [places[:, 0], MOTION_SCALE * (places[:, 1:] - places[:, :1]).flatten(1)]
        return self.head(torch.cat(seen, dim=1))

    def loss(self, predictions: Float[Tensor, "B A"], actions: Float[Tensor, "B A"]) -> Float[Tensor, ""]:
        """Squared up to one standard deviation, absolute beyond: where a motion is blocked frames cannot say how far
        it was meant to go, and squares would bend all others towards these; absolute errors alone leave rare motions (a
        turn) at none."""
        return nn.functional.smooth_l1_loss(predictions.float(), actions)
