"""Frames read from their files when they are indexed, for datasets too large for a cache of decoded frames."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from wla.data.video.frame_files import THREADS, FileSegment, FrameFiles


class RandomAccessFrames:
    """Indexed with an array of frame numbers like an array of decoded frames. Pieces of the files that do not depend on
    each other are decoded in parallel."""

    def __init__(self, segments: Sequence[FileSegment], files: FrameFiles, shape: tuple[int, int, int]) -> None:
        """shape: (H, W, 3) of a frame."""
        self._segments, self._files = list(segments), files
        self._starts = np.array([segment.start for segment in self._segments])
        self._firsts: dict[int, int] = {}
        self._pool = ThreadPoolExecutor(THREADS)
        last = self._segments[-1]
        self.shape = (last.start + last.length, *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B H W 3"]:
        """ValueError when a file is damaged, ends too early, or when its times are not those of the dataset."""
        requests: dict[Path, dict[int, list[int]]] = {}  # file -> frame of the file -> rows of the result
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        for row, (index, number) in enumerate(zip(indices.tolist(), numbers.tolist(), strict=True)):
            segment = self._segments[number]
            frame = self._first(number) + index - segment.start
            requests.setdefault(segment.path, {}).setdefault(frame, []).append(row)
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        jobs = [
            self._pool.submit(self._read, path, piece, rows, images)
            for path, rows in requests.items()
            for piece in self._files.pieces(path, sorted(rows))
        ]
        for job in jobs:
            job.result()
        return images

    def _first(self, number: int) -> int:
        """The frame of the file with which segment `number` begins."""
        if number not in self._firsts:
            self._firsts[number] = self._files.locate(self._segments[number])
        return self._firsts[number]

    def _read(self, path: Path, numbers: list[int], rows: dict[int, list[int]], images: np.ndarray) -> None:
        """Decodes the frames `numbers` of one file into those rows of `images`."""
        for number, image in zip(numbers, self._files.read(path, numbers), strict=True):
            images[rows[number]] = image
