"""Image transforms that training and acting share."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate, pad


def resize(images: UInt8[np.ndarray, "B H W 3"], side: int) -> UInt8[Tensor, "B S S 3"]:
    """Images as squares of `side` pixels: squares are averaged down by a whole factor, all others are fitted."""
    height, width = images.shape[1:3]
    if height != width or height % side:
        return resize_with_pad(images, side, side)
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    if height == side:
        return pixels
    factor = height // side
    return pixels.view(-1, side, factor, side, factor, 3).float().mean(dim=(2, 4)).round().to(torch.uint8)


def resize_with_pad(images: UInt8[np.ndarray, "B H W 3"], height: int, width: int) -> UInt8[Tensor, "B height width 3"]:
    """Images scaled to lie inside height x width with their shape kept, centred, the rest black.

    Scaling is bilinear and antialiased, which is what torchvision's resize computes. Images of the wanted size come
    back as they are. Of an odd rest the lower or right border gets the additional pixel. ValueError for an empty
    target.
    """
    if height < 1 or width < 1:
        raise ValueError(f"images cannot be fitted into {height} x {width} pixels; both sides must be at least 1")
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    if pixels.shape[1:3] == (height, width):
        return pixels
    scale = min(height / pixels.shape[1], width / pixels.shape[2])
    # A very long image would lose its short side; one pixel of it stays.
    inner = tuple(max(1, round(side * scale)) for side in pixels.shape[1:3])
    scaled = interpolate(pixels.permute(0, 3, 1, 2).float(), inner, mode="bilinear", antialias=True)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = torch.zeros(len(pixels), height, width, 3, dtype=torch.uint8)
    # Antialiasing weights sum to one only up to rounding, so 255 may come out as a little more.
    inside = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    canvas[:, top : top + inner[0], left : left + inner[1]] = inside
    return canvas


def jitter(
    images: UInt8[Tensor, "B H W 3"], rng: np.random.Generator, *, max_shift: int, brightness: float
) -> UInt8[Tensor, "B H W 3"]:
    """Each image shifted by up to `pixels` either way, its border repeated, and its light changed by up to `light`."""
    height, width = images.shape[1:3]
    wide = pad(images.permute(0, 3, 1, 2).float(), (max_shift,) * 4, mode="replicate").permute(0, 2, 3, 1)
    moved = [
        image[top : top + height, left : left + width]
        for image, (top, left) in zip(wide, rng.integers(2 * max_shift + 1, size=(len(images), 2)), strict=True)
    ]
    lit = torch.from_numpy(rng.uniform(1 - brightness, 1 + brightness, len(images)).astype(np.float32))
    return (torch.stack(moved) * lit[:, None, None, None]).round().clamp(0, 255).to(torch.uint8)


def paste_distractors(
    images: UInt8[Tensor, "B F S S 3"], rng: np.random.Generator, *, patches: int, max_size: float
) -> UInt8[Tensor, "B F S S 3"]:
    """Each sample with rectangles of a colour pasted over all its frames, at the same places: things that stand still.

    Up to `patches` of them, their sides up to the share `max_size` of the image's.
    """
    images = images.clone()
    side = images.shape[2]
    for sample in images:
        for _ in range(int(rng.integers(patches + 1))):
            height, width = rng.integers(1, max(2, round(max_size * side)), size=2)
            top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
            colour = torch.from_numpy(rng.integers(256, size=3).astype(np.uint8))
            sample[:, top : top + height, left : left + width] = colour
    return images
