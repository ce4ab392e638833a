"""Image transforms that training and acting share."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate, pad

from wla.specs import ImageFit as ImageFit


def resize(images: UInt8[np.ndarray, "B H W 3"], side: int, fit: ImageFit = "pad") -> UInt8[Tensor, "B S S 3"]:
    """Images as squares of `side` pixels: block averages of square images whose side is a multiple of it; all others
    are resized, and padded, cropped or stretched."""
    if fit == "crop":
        images = _middle(images)
    height, width = images.shape[1:3]
    if height == width and height % side == 0:
        return _block_average(images, side)
    if fit == "stretch":
        return _scaled(_tensor(images), (side, side))
    return resize_with_pad(images, side, side)


def _tensor(images: UInt8[np.ndarray, "B H W 3"]) -> UInt8[Tensor, "B H W 3"]:
    """The pixels in the array's memory; in a copy where it is read-only, which no tensor can be, or has gaps."""
    return torch.from_numpy(np.require(images, requirements=("C_CONTIGUOUS", "WRITEABLE")))


def _middle(images: UInt8[np.ndarray, "B H W 3"]) -> UInt8[np.ndarray, "B S S 3"]:
    """The largest square in the middle."""
    height, width = images.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, top : top + side, left : left + side]


def _block_average(images: UInt8[np.ndarray, "B S S 3"], side: int) -> UInt8[Tensor, "B side side 3"]:
    factor = images.shape[1] // side
    if factor == 1:
        return _tensor(images)
    # Sums of whole numbers along one axis after the other: a quarter of the time of a mean over both.
    blocks = images.reshape(-1, side, factor, side, factor, 3)
    rows = sum((blocks[:, :, index] for index in range(1, factor)), blocks[:, :, 0].astype(np.uint32))
    total = sum((rows[:, :, :, index] for index in range(1, factor)), rows[:, :, :, 0])
    return torch.from_numpy(np.rint(total.astype(np.float32) / np.float32(factor**2)).astype(np.uint8))


def _scaled(pixels: UInt8[Tensor, "B H W 3"], size: tuple[int, int]) -> UInt8[Tensor, "B height width 3"]:
    scaled = interpolate(pixels.permute(0, 3, 1, 2).float(), size, mode="bilinear", antialias=True)
    # Antialiasing weights sum to one only up to rounding, so 255 may become slightly more.
    return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def resize_with_pad(
    images: UInt8[np.ndarray, "B H W 3"], height: int, width: int, pixel_aspect: float = 1.0
) -> UInt8[Tensor, "B height width 3"]:
    """Images scaled to fit into height x width at their aspect ratio, centred on black.

    Scaling is bilinear and antialiased, as in torchvision's resize. Images of the requested size are returned
    unchanged. The lower or right margin is one pixel larger where the margins differ. pixel_aspect: width of a
    displayed pixel over its height. ValueError for a size below one pixel.
    """
    if height < 1 or width < 1:
        raise ValueError(f"images cannot be resized to {height} x {width} pixels; both sides must be at least 1")
    pixels = _tensor(images)
    if pixels.shape[1:3] == (height, width) and pixel_aspect == 1:
        return pixels
    across = pixels.shape[2] * pixel_aspect
    scale = min(height / pixels.shape[1], width / across)
    # The short side of a very long image would round to 0.
    inner = (max(1, round(pixels.shape[1] * scale)), max(1, round(across * scale)))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = torch.zeros(len(pixels), height, width, 3, dtype=torch.uint8)
    canvas[:, top : top + inner[0], left : left + inner[1]] = _scaled(pixels, inner)
    return canvas


def jitter(
    images: UInt8[Tensor, "B H W 3"], rng: np.random.Generator, *, max_shift: int, brightness: float
) -> UInt8[Tensor, "B H W 3"]:
    """Each image shifted by up to `max_shift` pixels along each axis, its edge pixels repeated, and multiplied by a
    random factor in 1 - `brightness` .. 1 + `brightness`."""
    height, width = images.shape[1:3]
    padded = pad(images.permute(0, 3, 1, 2).float(), (max_shift,) * 4, mode="replicate").permute(0, 2, 3, 1)
    shifted = [
        image[top : top + height, left : left + width]
        for image, (top, left) in zip(padded, rng.integers(2 * max_shift + 1, size=(len(images), 2)), strict=True)
    ]
    gain = torch.from_numpy(rng.uniform(1 - brightness, 1 + brightness, len(images)).astype(np.float32))
    return (torch.stack(shifted) * gain[:, None, None, None]).round().clamp(0, 255).to(torch.uint8)


def paste_distractors(
    images: UInt8[Tensor, "B F S S 3"], rng: np.random.Generator, *, patches: int, max_size: float
) -> UInt8[Tensor, "B F S S 3"]:
    """Each sample with up to `patches` static objects, rectangles of one colour at the same position in all frames.

    max_size: longest side of a rectangle, as a fraction of the image's side.
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
