"""Statistics that LeRobot stores per episode and, over all episodes, in `meta/stats.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num, UInt8

FeatureStats = dict[str, Any]
"""min, max, mean, std, quantiles (nested lists) and count ([frames]) of one feature."""

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
"""Those that LeRobot stores."""
SAMPLED_FRAMES = 16
_MOMENTS = ("min", "max", "mean", "std")


def vector_stats(values: Num[np.ndarray, "N D"]) -> FeatureStats:
    """Statistics per dimension over the frames of one episode."""
    values = values.astype(np.float64)
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return _stats(values, quantiles, axis=0, shape=(values.shape[1],), count=len(values))


def image_stats(frames: Sequence[UInt8[np.ndarray, "H W 3"]]) -> FeatureStats:
    """Statistics per channel, shape (3, 1, 1), in [0, 1], over at most 16 evenly spaced frames."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, SAMPLED_FRAMES).round().astype(int))
    pixels = np.stack([frames[i] for i in chosen])
    # Levels are counted: sorting all pixels takes a hundred times as long.
    counts = np.stack([np.bincount(pixels[..., channel].ravel(), minlength=256) for channel in range(3)])
    below = np.cumsum(counts, axis=1) / counts.sum(1, keepdims=True)
    levels = np.array([[np.searchsorted(part, q) for part in below] for q in QUANTILES.values()])
    scaled = pixels.astype(np.float32) / 255
    return _stats(scaled, levels / 255, axis=(0, 1, 2), shape=(3, 1, 1), count=len(chosen))


def join_stats(episodes: Sequence[Mapping[str, FeatureStats]]) -> dict[str, FeatureStats]:
    """Statistics over all frames, from those of the episodes."""
    return {key: _join([stats[key] for stats in episodes]) for key in episodes[0]}


def _stats(
    values: np.ndarray,
    quantiles: np.ndarray,
    *,
    axis: int | tuple[int, ...],
    shape: tuple[int, ...],
    count: int,
) -> FeatureStats:
    reduced = {
        "min": values.min(axis),
        "max": values.max(axis),
        "mean": values.mean(axis, dtype=np.float64),
        "std": values.std(axis, dtype=np.float64),
    }
    reduced |= zip(QUANTILES, quantiles, strict=True)
    return {name: value.astype(np.float64).reshape(shape).tolist() for name, value in reduced.items()} | {
        "count": [count]
    }


def _join(parts: Sequence[FeatureStats]) -> FeatureStats:
    counts = np.array([part["count"][0] for part in parts], np.float64)
    lows, highs, means, stds = (np.array([part[name] for part in parts]) for name in _MOMENTS)
    weights = (counts / counts.sum()).reshape(-1, *[1] * (means.ndim - 1))
    mean = (weights * means).sum(0)
    # Law of total variance: mean of the variances within episodes plus variance of their means.
    variance = (weights * (stds**2 + (means - mean) ** 2)).sum(0)
    # Their mean over the episodes, as LeRobot joins them; datasets of earlier versions have none.
    known = [name for name in QUANTILES if all(name in part for part in parts)]
    quantiles = {name: (weights * np.array([part[name] for part in parts])).sum(0).tolist() for name in known}
    return {
        "min": lows.min(0).tolist(),
        "max": highs.max(0).tolist(),
        "mean": mean.tolist(),
        "std": np.sqrt(variance).tolist(),
        **quantiles,
        "count": [int(counts.sum())],
    }
