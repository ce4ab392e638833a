"""Random crops and colours of training images, the same in all images of a sample: now, before, and the subgoal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from wla.batch import Batch
from wla.data.dataset_config import ImageAugmentation
from wla.types import ImageKey

YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""RGB -> luma and two axes of colour, in whose plane the hue is an angle."""


def augment(batch: Batch, config: ImageAugmentation, primary: str, rng: np.random.Generator) -> Batch:
    """The batch with other images. primary: the camera of the subgoal."""
    samples = len(batch.tokens)
    cameras = list(dict.fromkeys([*(ImageKey.parse(name).camera for name in batch.images), primary]))
    matrix, offset = _draw_colours(config, samples, rng)
    corners = {camera: rng.uniform(0, 1 - config.crop, (samples, 2)) for camera in cameras}

    def augmented(images: UInt8[Tensor, "B S S 3"], camera: str) -> UInt8[Tensor, "B S S 3"]:
        pixels = images.float() / 255
        if config.crop < 1:
            pixels = crop_and_resize(pixels, torch.from_numpy(corners[camera]).float(), config.crop)
        colours = torch.einsum("bij,bhwj->bhwi", matrix, pixels) + offset[:, None, None, None]
        present = images.flatten(1).any(1)[:, None, None, None]
        return ((colours * 255).round().clamp(0, 255) * present).to(torch.uint8)

    return replace(
        batch,
        images={name: augmented(images, ImageKey.parse(name).camera) for name, images in batch.images.items()},
        subgoal=None if batch.subgoal is None else augmented(batch.subgoal, primary),
    )


def _draw_colours(
    config: ImageAugmentation, samples: int, rng: np.random.Generator
) -> tuple[Float32[Tensor, "B 3 3"], Float32[Tensor, " B"]]:
    """Matrix and offset of each sample's colours, which are in 0 .. 1."""
    brightness, contrast, saturation = (
        rng.uniform(1 - limit, 1 + limit, samples) for limit in (config.brightness, config.contrast, config.saturation)
    )
    hue = hue_matrix(2 * np.pi * rng.uniform(-config.hue, config.hue, samples))
    grey = np.broadcast_to(YIQ[0], (3, 3))
    colour = saturation[:, None, None] * np.eye(3) + (1 - saturation)[:, None, None] * grey
    # Neither saturation nor hue changes grey, so the offset of the contrast passes through both.
    matrix = (brightness * contrast)[:, None, None] * (hue @ colour)
    return torch.from_numpy(matrix).float(), torch.from_numpy(0.5 * (1 - contrast)).float()


def hue_matrix(angle: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, "B 3 3"]:
    """RGB -> RGB with hues turned by these angles, in radians, at the same luma."""
    turn = np.zeros((len(angle), 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 2, 1] = np.sin(angle)
    turn[:, 1, 2] = -turn[:, 2, 1]
    return np.linalg.inv(YIQ) @ turn @ YIQ


def crop_and_resize(
    pixels: Float32[Tensor, "B S S 3"], corners: Float32[Tensor, "B 2"], side: float
) -> Float32[Tensor, "B S S 3"]:
    """The square part of each image whose upper left corner is at `corners` (row, column), scaled to the whole image.

    corners, side: fractions of the image's side. Scaling is bilinear.
    """
    shift = 2 * corners.flip(1) + side - 1  # centre of the part, x first, where the image reaches from -1 to 1
    scale = torch.eye(2).mul(side).expand(len(pixels), 2, 2)
    grid = affine_grid(torch.cat([scale, shift[:, :, None]], dim=2), [len(pixels), 3, *pixels.shape[1:3]], False)
    cut = grid_sample(pixels.permute(0, 3, 1, 2), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return cut.permute(0, 2, 3, 1)
