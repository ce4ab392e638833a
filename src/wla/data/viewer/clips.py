"""Small videos of single episodes, which any browser plays whatever codec and files the dataset has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wla.data.lerobot.format import frame_rate
from wla.data.lerobot.reader import Episode, LeRobotDataset

FRAMES_AT_ONCE = 64
"""Full-size frames in memory."""


def write_clips(dataset: LeRobotDataset, episode: Episode, folder: Path, size: int) -> list[Path]:
    """Writes one mp4 per camera, in the order of `dataset.readable_cameras`, with exactly the episode's frames.

    Args:
        dataset: dataset of the episode.
        episode: episode to show.
        folder: existing folder; the files are named after the episode's index and the camera's position.
        size: largest side in pixels.

    Raises:
        ValueError: a video is damaged.
        OSError: the folder cannot be written.
    """
    # Imported here, so that a page of a dataset without cameras does not load the encoder.
    from wla.data.video.codec import VIEWING, encode

    files = []
    for number, camera in enumerate(dataset.readable_cameras):
        frames = [_fitted(image, size) for image in _images(dataset, episode, camera)]
        file = folder / f"episode-{episode.index:06d}-{number}.mp4"
        file.write_bytes(encode(frames, frame_rate(dataset.fps), VIEWING))
        files.append(file)
    return files


def _images(dataset: LeRobotDataset, episode: Episode, camera: str) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """All frames of an episode, read where they lie: no cache of the whole dataset is written."""
    frames = dataset.random_access_frames(camera)
    for start in range(episode.start, episode.end, FRAMES_AT_ONCE):
        yield from frames[np.arange(start, min(start + FRAMES_AT_ONCE, episode.end))]


def _fitted(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image with its longer side at most `size`, and even sides, as H.264 needs. Small images are enlarged by an
    integer factor: its colours have half the resolution."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    scale = scale // 1 if scale >= 1 else scale
    across, down = (max(2, round(side * scale) // 2 * 2) for side in (width, height))
    resampling = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((across, down), resampling))
