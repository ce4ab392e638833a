"""Frames read from the videos when they are asked for, for datasets too large to be decoded ahead."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from jaxtyping import Int64, UInt8

from wla.data.video.frame_cache import FileSegment

MAX_GAP = 48
"""Frames beyond which seeking is cheaper than decoding what lies between."""


class RandomAccessFrames:
    """Indexed with an array of frame numbers like a decoded array; each file is opened, sought in, and closed again.

    Seeking goes to the key frame before the first wanted frame of a file, so neighbouring frames of one file are read
    in one go. Files are decoded side by side.
    """

    def __init__(self, segments: Sequence[FileSegment], rate: Fraction, shape: tuple[int, int, int]) -> None:
        """rate: frames per second of the videos. shape: (H, W, 3) of a frame."""
        self._segments, self._rate, self._shape = list(segments), rate, shape
        self._starts = np.array([piece.start for piece in self._segments])
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def __getitem__(self, indices: Int64[np.ndarray, " B"]) -> UInt8[np.ndarray, "B H W 3"]:
        """ValueError when a file is damaged or ends too early."""
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        jobs: dict[Path, dict[int, list[int]]] = {}
        for place, (index, number) in enumerate(zip(indices.tolist(), numbers.tolist(), strict=True)):
            piece = self._segments[number]
            frame = piece.first + index - piece.start
            jobs.setdefault(piece.path, {}).setdefault(frame, []).append(place)
        found = np.empty((len(indices), *self._shape), np.uint8)
        for job in [self._pool.submit(self._read, path, wanted, found) for path, wanted in jobs.items()]:
            job.result()
        return found

    def _read(self, path: Path, wanted: dict[int, list[int]], found: np.ndarray) -> None:
        waiting = sorted(wanted)
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                while waiting:
                    waiting = self._read_until_gap(container, stream, waiting, wanted, found)
        except (FFmpegError, OSError) as error:
            raise ValueError(f"{path}: damaged video at frame {waiting[0]} ({error}); restore it") from error

    def _read_until_gap(
        self,
        container: InputContainer,
        stream: VideoStream,
        waiting: list[int],
        wanted: dict[int, list[int]],
        found: np.ndarray,
    ) -> list[int]:
        """Seek to the first frame that is waited for and read until the next one is far; what is waited for then."""
        begin, unit = stream.start_time or 0, Fraction(stream.time_base or 1)
        container.seek(begin + round(waiting[0] / (self._rate * unit)), stream=stream)
        for picture in container.decode(stream):
            number = round(((picture.pts or 0) - begin) * unit * self._rate)
            if number < waiting[0]:
                continue
            if number > waiting[0]:
                break
            found[wanted[number]] = picture.to_ndarray(format="rgb24")
            waiting = waiting[1:]
            if not waiting or waiting[0] - number > MAX_GAP:
                return waiting
        raise ValueError(f"{container.name}: has no frame {waiting[0]}; `wla data check` finds such clips")
