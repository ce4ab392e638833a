"""Image transforms that training and acting share."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor


def shrink(images: UInt8[np.ndarray, "B H W 3"], side: int) -> UInt8[Tensor, "B S S 3"]:
    """Square images averaged down to `side`. ValueError unless the side divides them."""
    height, width = images.shape[1:3]
    if height != width or height % side:
        raise ValueError(f"images of {height} x {width} pixels do not shrink to {side} x {side} by a whole factor")
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    if height == side:
        return pixels
    factor = height // side
    return pixels.view(-1, side, factor, side, factor, 3).float().mean(dim=(2, 4)).round().to(torch.uint8)
