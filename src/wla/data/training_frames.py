"""Images that training reads: decoded once into caches at the sizes that the model sees, or sought in the files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int64, UInt8

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.video.random_access import RandomAccessFrames
from wla.progress import note
from wla.specs import ImageFit

CACHE_GB = 32.0
"""Limit of the caches of one dataset."""


class Frames(Protocol):
    """Square frames of a camera, indexed with frame numbers."""

    def __getitem__(self, indices: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B S S 3"]: ...


@dataclass(frozen=True)
class _SoughtFrames:
    """Frames that are read from their files and resized when they are indexed."""

    frames: RandomAccessFrames
    side: int
    fit: ImageFit

    def __getitem__(self, indices: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B S S 3"]:
        # Imported here, so that datasets are read without torch.
        from wla.data.transforms import resize

        return resize(self.frames[indices], self.side, self.fit).numpy()


def open_training_frames(
    dataset: LeRobotDataset,
    sides: Mapping[str, Iterable[int]],
    fit: ImageFit = "pad",
    *,
    cache: bool = True,
    limit_gb: float = CACHE_GB,
) -> dict[tuple[str, int], Frames]:
    """Frames by camera and side, the same pixels with and without a cache.

    Args:
        dataset: dataset with these cameras.
        sides: camera -> sides in pixels of the squares that are read of it.
        fit: how images become squares.
        cache: whether frames are decoded once into `ROOT/.cache`.
        limit_gb: limit of the decoded frames. Where they, or the disk's free space, exceed it, the files are sought in
            instead, and a line says so.

    Raises:
        ValueError: a file is absent or damaged.
    """
    wanted = [(camera, side) for camera, each in sides.items() for side in dict.fromkeys(each)]
    if cache:
        caches = {(camera, side): dataset.camera_frames(camera).cache(side, fit) for camera, side in wanted}
        missing = sum(each.bytes for each in caches.values() if not each.is_built())
        reason = _too_large(dataset, missing, sum(each.bytes for each in caches.values()), limit_gb)
        if not reason:
            return {key: each.open() for key, each in caches.items()}
        note(f"{dataset.root}: {reason}; its files are sought in instead, which is slower")
    return {(camera, side): _SoughtFrames(dataset.random_access_frames(camera), side, fit) for camera, side in wanted}


def _too_large(dataset: LeRobotDataset, missing: int, total: int, limit_gb: float) -> str:
    """The reason why frames of this size, in bytes, are not decoded into a cache, '' where they can be."""
    if total > limit_gb * 1e9:
        return f"decoded frames would take {total / 1e9:.1f} GB, more than cache_gb={limit_gb:g}"
    free = shutil.disk_usage(dataset.root).free
    if missing > free:
        return f"decoded frames would take {missing / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free"
    return ""
