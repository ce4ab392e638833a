"""Files that hold the frames of a dataset: videos, or tables of single images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Number of threads that decode at once."""


@dataclass(frozen=True)
class FileSegment:
    """`length` frames of a file, from its frame `first`, that are the frames of a dataset from `start`.

    The segments of a file may leave gaps, and come in any order.
    """

    path: Path
    first: int
    start: int
    length: int


def by_file(segments: Sequence[FileSegment]) -> dict[Path, list[FileSegment]]:
    """The segments of each file."""
    files: dict[Path, list[FileSegment]] = {}
    for segment in segments:
        files.setdefault(segment.path, []).append(segment)
    return files


class FrameFiles(Protocol):
    """Frames of files by their numbers; may be used by several threads."""

    def locate(self, segment: FileSegment) -> int:
        """The number of a segment's first frame as the file has it. ValueError when its frames are not there."""

    def pieces(self, path: Path, numbers: Sequence[int]) -> list[list[int]]:
        """Splits ascending, distinct frame numbers where the next ones are read as cheaply by themselves."""

    def read(self, path: Path, numbers: Sequence[int]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """The frames `numbers` (ascending, distinct) of a file. ValueError when one is absent, damaged or of another
        size."""
