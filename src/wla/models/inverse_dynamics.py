"""Inverse dynamics: consecutive frames -> the action that was executed at the first; labels videos without actions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wla.models.backbones.nano import ResidualConv, module_name
from wla.models.configs import InverseConfig

MOTION_SCALE = 10
"""Scale of displacements relative to positions: a step moves objects by a tenth of the image or less."""


class SpatialSoftmax(nn.Module):
    """Positions of learned keypoints: the mean position under a softmax of features (spatial softmax, Levine et al.
    2016, arXiv 1504.00702), finer than a pixel, so that a motion is a difference of positions."""

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
        """Positions (B, 2 keypoints) between -1 and 1: all horizontal ones, then all vertical ones."""
        pixels = images.permute(0, 3, 1, 2).to(self.sharpness.dtype).div_(127.5).sub_(1.0)
        features = self.features(pixels.contiguous(memory_format=torch.channels_last)).float()
        weights = (self.sharpness * features).flatten(2).softmax(-1).unflatten(2, features.shape[2:])
        axis = torch.linspace(-1, 1, features.shape[-1], device=features.device)
        return torch.cat([weights.sum(2) @ axis, weights.sum(3) @ axis], dim=1)


class InverseDynamics(nn.Module):
    """MLP on the keypoints of every camera: their positions in the first frame, and their displacements after it."""

    def __init__(self, config: InverseConfig) -> None:
        super().__init__()
        self.config = config
        self.keypoint_encoders = nn.ModuleDict(
            {module_name(camera): SpatialSoftmax(config.channels, config.num_keypoints) for camera in config.cameras}
        )
        inputs = 2 * config.num_keypoints * len(config.cameras) * (1 + config.lookahead)
        self.head = nn.Sequential(
            nn.Linear(inputs, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.action_dim),
        )

    def forward(self, images: Mapping[str, UInt8[Tensor, "B F S S 3"]]) -> Float[Tensor, "B A"]:
        """The action (B, A) between the first frame and the second, in standard deviations from its mean.

        images: camera -> uint8 frames (B, F, S, S, 3), where F is 1 + `lookahead`.
        """
        inputs = []
        for camera, encoder in zip(self.config.cameras, self.keypoint_encoders.values(), strict=True):
            positions = encoder(images[camera].flatten(0, 1)).unflatten(0, images[camera].shape[:2])
            inputs += [positions[:, 0], MOTION_SCALE * (positions[:, 1:] - positions[:, :1]).flatten(1)]
        return self.head(torch.cat(inputs, dim=1))

    def loss(self, predictions: Float[Tensor, "B A"], actions: Float[Tensor, "B A"]) -> Float[Tensor, ""]:
        """Smooth L1 loss: squared up to one standard deviation, absolute beyond.

        Where a motion is blocked, frames do not show its commanded length, and squared errors would bias all other
        predictions towards these; with absolute errors alone, rare motions (a turn) are predicted as zero.
        """
        return nn.functional.smooth_l1_loss(predictions.float(), actions)
