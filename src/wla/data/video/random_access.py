"""Frames decoded from the videos when they are indexed, for datasets too large for a cache of decoded frames."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from wla.data.video.frame_cache import FileSegment


class RandomAccessFrames:
    """Indexed with an array of frame numbers like an array of decoded frames. Files are decoded in parallel, each is
    opened once per access."""

    def __init__(self, segments: Sequence[FileSegment], rate: Fraction, shape: tuple[int, int, int]) -> None:
        """rate: frames per second of the videos. shape: (H, W, 3) of a frame."""
        self._segments, self._rate, self._shape = list(segments), rate, shape
        self._starts = np.array([segment.start for segment in self._segments])
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def __getitem__(self, indices: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B H W 3"]:
        """ValueError when a file is damaged or ends too early."""
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        requests: dict[Path, dict[int, list[int]]] = {}  # file -> frame of the file -> rows of the result
        for row, (index, number) in enumerate(zip(indices.tolist(), numbers.tolist(), strict=True)):
            segment = self._segments[number]
            frame = segment.first + index - segment.start
            requests.setdefault(segment.path, {}).setdefault(frame, []).append(row)
        images = np.empty((len(indices), *self._shape), np.uint8)
        for job in [self._pool.submit(self._read, path, rows, images) for path, rows in requests.items()]:
            job.result()
        return images

    def _read(self, path: Path, rows: dict[int, list[int]], images: np.ndarray) -> None:
        """Decodes the frames `rows` of one file into those rows of `images`."""
        # Imported here, so that a process that decodes no video does not load the decoder.
        from wla.data.video import codec

        numbers = sorted(rows)
        frames = codec.decode_at(path, numbers, self._rate, self._shape[:2])
        for number, image in zip(numbers, frames, strict=True):
            images[rows[number]] = image
