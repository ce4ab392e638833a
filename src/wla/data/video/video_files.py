"""Frames of videos by their numbers: decoders stay open, and continue decoding or seek, whichever is cheaper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from threading import Lock

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from wla.data.video.codec import open_video, video_errors
from wla.data.video.frame_files import FileSegment
from wla.data.video.index import VideoIndex, read_index
from wla.data.video.orientation import Matrix, display_matrix, upright

MAX_OPEN = 64
"""Number of videos that are kept open for the next access."""
MAX_PIECE = 256
"""Number of frames after which another thread may continue, at a key frame."""


class VideoFiles:
    """`FrameFiles` of videos of one size, whose frames are found by the times at which they are shown."""

    def __init__(self, rate: Fraction, size: tuple[int, int]) -> None:
        """rate: frames per second. size: (height, width) of the frames."""
        self._rate, self._size = rate, size
        self._indices: dict[Path, VideoIndex] = {}
        self._idle: list[_Decoder] = []  # the last used one at the end
        self._lock = Lock()

    def index(self, path: Path) -> VideoIndex:
        """The times of a file's frames, read once."""
        found = self._indices.get(path)
        if found is None:
            found = self._indices.setdefault(path, read_index(path))
        return found

    def locate(self, segment: FileSegment) -> int:
        return self.index(segment.path).locate(segment.first, segment.length, self._rate)

    def pieces(self, path: Path, numbers: Sequence[int]) -> list[list[int]]:
        index = self.index(path)
        found = [[*numbers[:1]]]
        for last, number in pairwise(numbers):
            full = len(found[-1]) >= MAX_PIECE and index.keys[number] > last
            if full or index.worth_a_seek(last, number):
                found.append([])
            found[-1].append(number)
        return found

    def read(self, path: Path, numbers: Sequence[int]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        number = numbers[0]
        with video_errors(path, lambda: f"frame {number}"), self._decoder(path, number) as decoder:
            for number in numbers:
                yield decoder.image(number)

    @contextmanager
    def _decoder(self, path: Path, number: int) -> Iterator[_Decoder]:
        """An open decoder for one thread, if possible one that need not seek; after an error it is not used again."""
        with self._lock:
            mine = max(
                (each for each in self._idle if each.path == path), key=lambda d: d.is_near(number), default=None
            )
            if mine is not None:
                self._idle.remove(mine)
        decoder = mine or _Decoder(self.index(path), self._size)
        try:
            yield decoder
        except BaseException:
            decoder.close()
            raise
        with self._lock:
            self._idle.append(decoder)
            surplus = self._idle.pop(0) if len(self._idle) > MAX_OPEN else None
        if surplus is not None:
            surplus.close()


class _Decoder:
    """An open video and the number of the frame that was decoded last."""

    def __init__(self, index: VideoIndex, size: tuple[int, int]) -> None:
        self.path = index.path
        self._index, self._size = index, size
        self._container, self._stream = open_video(index.path, size, strict=not index.open_groups)
        self._converter = VideoReformatter()
        self._frames = self._container.decode(self._stream)
        self._last = -1
        self._matrix: Matrix | None = None
        self._is_new = True

    def close(self) -> None:
        self._container.close()

    def is_near(self, number: int) -> bool:
        """Whether to continue decoding is the cheapest way to a frame."""
        return self._last < number and not self._index.worth_a_seek(self._last, number)

    def image(self, number: int) -> UInt8[np.ndarray, "H W 3"]:
        """Decodes one frame. ValueError when the video does not have it, or another size."""
        frame = self._next() if self.is_near(number) else self._seek(number)
        while frame is not None and self._last < number:
            frame = self._next()
        if frame is None or self._last != number:
            raise ValueError(f"{self.path}: frame {number} cannot be decoded; restore it or collect the dataset again")
        image = upright(self._converter.reformat(frame, format="rgb24").to_ndarray(), self._matrix)
        if image.shape[:2] != self._size:
            (height, width), (wanted_height, wanted_width) = image.shape[:2], self._size
            raise ValueError(
                f"{self.path}: frame {number} is {height}x{width}, meta/info.json has {wanted_height}x{wanted_width}; "
                "correct meta/info.json or restore the file"
            )
        return image

    def _next(self) -> VideoFrame | None:
        frame = next(self._frames, None)
        if frame is not None:
            if self._is_new:
                self._matrix, self._is_new = display_matrix(frame), False
            time = frame.dts if frame.pts is None else frame.pts
            self._last = self._last + 1 if time is None else int(np.searchsorted(self._index.times, time))
        return frame

    def _seek(self, number: int) -> VideoFrame | None:
        """The first frame after seeking to the key frame of `number`: that frame, or one before it."""
        key = int(self._index.keys[number])
        while True:
            self._container.seek(int(self._index.times[key]), stream=self._stream)
            self._frames, self._last = self._container.decode(self._stream), key - 1
            frame = self._next()
            if key == 0 or (frame is not None and self._last <= number):
                return frame
            key = int(self._index.keys[key - 1])  # frames of an open group precede its key frame
