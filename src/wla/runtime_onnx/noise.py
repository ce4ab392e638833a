"""The noise that torch draws from a seed on a CPU, drawn by NumPy: chunks stay those of their seed without torch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

_BLOCK = 16
"""Numbers that torch makes at once, from as many uniform ones."""


def normal(seed: int, shape: tuple[int, ...]) -> Float32[np.ndarray, "*shape"]:
    """`torch.randn(shape, generator=torch.Generator().manual_seed(seed))`, up to rounding."""
    source = np.random.RandomState(seed % 2**32)
    size = int(np.prod(shape))
    if size < _BLOCK:
        return _singly(source, size).reshape(shape)
    numbers = _uniform(source, size)
    whole = size - size % _BLOCK
    blocks = _box_muller(numbers[:whole].reshape(-1, _BLOCK)).ravel()
    if whole == size:
        return blocks.reshape(shape)
    last = _box_muller(_uniform(source, _BLOCK)[None])[0]  # the end is drawn again, as a whole block
    return np.concatenate([blocks[: size - _BLOCK], last]).reshape(shape)


def _uniform(source: np.random.RandomState, count: int) -> Float32[np.ndarray, " N"]:
    raw = source.randint(0, 2**32, count, dtype=np.uint32)
    return (raw & np.uint32(2**24 - 1)).astype(np.float32) * np.float32(2**-24)


def _box_muller(uniform: Float32[np.ndarray, "N 16"]) -> Float32[np.ndarray, "N 16"]:
    first, second = 1 - uniform[:, :8], uniform[:, 8:]
    radius, angle = np.sqrt(-2 * np.log(first)), np.float32(2 * np.pi) * second
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _singly(source: np.random.RandomState, count: int) -> Float32[np.ndarray, " N"]:
    """Pairs from two numbers of 53 random bits each."""
    raw = source.randint(0, 2**32, 4 * ((count + 1) // 2), dtype=np.uint32).astype(np.uint64)
    high, low = raw[0::2], raw[1::2]
    uniform = ((high << np.uint64(32) | low) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-uniform[1::2])), 2 * np.pi * uniform[0::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.ravel()[:count].astype(np.float32)
