"""The frames of one camera of a dataset: a cache of decoded ones, or read from the files when they are indexed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from wla.data.lerobot.format import INFO
from wla.data.lerobot.image_files import ParquetImages
from wla.data.video.frame_cache import FrameCache
from wla.data.video.frame_files import FileSegment, FrameFiles, by_file
from wla.data.video.random_access import RandomAccessFrames
from wla.specs import ImageFit


@dataclass(frozen=True)
class CameraFrames:
    """Where the frames of a camera lie.

    name: in the names of its caches. key: feature. size: (height, width). segments: of files, one for each episode.
    rate: frames per second. is_video: of a video, or else single images in the data files.
    """

    root: Path
    name: str
    key: str
    size: tuple[int, int]
    segments: Sequence[FileSegment]
    rate: Fraction
    is_video: bool

    def cache(self, side: int | None, fit: ImageFit = "pad") -> FrameCache:
        """The cache of all frames as squares of `side` pixels, as training resizes them; None for their own size."""
        size = self.size if side is None else (side, side)
        name = f"{size[0]}x{size[1]}" + (f"-{fit}" if fit != "pad" and size != self.size else "")
        shape = (sum(segment.length for segment in self.segments), *size, 3)
        return FrameCache(self.root, self.name, name, self.segments, self.files, shape, _Fit(size, self.size, fit))

    @cached_property
    def random_access(self) -> RandomAccessFrames:
        return RandomAccessFrames(self.segments, self.files, (*self.size, 3))

    @cached_property
    def files(self) -> FrameFiles:
        """ValueError when one of them is absent, of another size, or too short by what its header says."""
        if not self.is_video:
            return ParquetImages(self.key, self.size)
        # Imported here, so that a process that decodes no video does not load the decoder.
        from wla.data.video import codec
        from wla.data.video.video_files import VideoFiles

        files = VideoFiles(self.rate, self.size)
        for path, segments in by_file(self.segments).items():
            header = codec.probe(path)
            # A video may state that its frames lie on their side; the decoder compares them when they are upright.
            if (header.height, header.width) not in (self.size, self.size[::-1]):
                raise ValueError(
                    f"{path}: is {header.height}x{header.width}, {INFO} has {self.size[0]}x{self.size[1]}; correct "
                    f"{INFO}"
                )
            # The header's count may be a guess, or absent; only one that is too small is worth reading all packets.
            if header.frames < max(segment.first + segment.length for segment in segments):
                for segment in segments:
                    files.locate(segment)
        return files


@dataclass(frozen=True)
class _Fit:
    """Brings frames of a size to squares exactly as training does."""

    size: tuple[int, int]
    own_size: tuple[int, int]
    fit: ImageFit

    def __call__(self, images: UInt8[np.ndarray, "B H W 3"]) -> UInt8[np.ndarray, "B h w 3"]:
        if self.size == self.own_size:
            return images
        # Imported here, so that datasets are read without torch.
        from wla.data.transforms import resize

        return resize(images, self.size[0], self.fit).numpy()
