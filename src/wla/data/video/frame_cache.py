"""Decoded frames in a memory-mapped file, so that training reads images by plain indexing."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.parse import quote

import numpy as np
from jaxtyping import UInt8
from rich.markup import escape

from wla.data.video.frame_files import THREADS, FileSegment, FrameFiles, by_file
from wla.foreign import path_below
from wla.progress import note, progress_bar

FOLDER = ".cache"
_MAX_NAME = 150
_FORMAT = "2"
"""Changes when the same files are decoded into other pixels."""
_BLOCK = 16
"""Number of full-size frames that a thread holds at once."""

Fit = Callable[[UInt8[np.ndarray, "B H W 3"]], UInt8[np.ndarray, "B S S 3"]]


@dataclass(frozen=True)
class FrameCache:
    """All frames of a camera of a dataset, at one size, as a file in `ROOT/.cache`.

    name: of the size. shape: (N, H, W, 3) of the array. fit: brings frames of the files to that size.
    """

    root: Path
    camera: str
    name: str
    segments: Sequence[FileSegment]
    files: FrameFiles
    shape: tuple[int, int, int, int]
    fit: Fit

    @property
    def bytes(self) -> int:
        return math.prod(self.shape)

    @property
    def path(self) -> Path:
        """The file; it has another name when the dataset's files have changed."""
        return path_below(self.root, f"{FOLDER}/{self._name}-{self._key()}.npy", self.root)

    def open(self) -> UInt8[np.ndarray, "N H W 3"]:
        """A read-only memory map of the frames, which are decoded first where that has not been done.

        ValueError when a file is damaged or lacks frames, or the cache cannot be written.
        """
        target = self.path
        frames = self._load(target)
        if frames is None:
            try:
                self._build(target)
            except OSError as error:
                raise ValueError(
                    f"{target.parent}: cannot write decoded frames ({error}); free disk space, copy the dataset, or "
                    "read it without a cache (cache_frames=false)"
                ) from error
            # Decoded from files that have changed since, or by a version that named caches without their size.
            pattern = rf"({re.escape(self._name)}|{re.escape(_file_name(self.camera))})-[0-9a-f]{{16}}\.npy"
            for other in target.parent.iterdir():
                if other != target and re.fullmatch(pattern, other.name):
                    other.unlink()
            frames = self._load(target)
            assert frames is not None
        return frames

    def beside(self, what: str) -> Path:
        """A file beside the frames for something made of them; like `path`, it changes with the dataset's files."""
        return path_below(self.root, f"{FOLDER}/{self._name}-{what}-{self._key()}.npy", self.root)

    def is_built(self) -> bool:
        return self._load(self.path) is not None

    @property
    def _name(self) -> str:
        return f"{_file_name(self.camera)}-{self.name}"

    def _key(self) -> str:
        files = {segment.path: segment.path.stat() for segment in self.segments if segment.path.is_file()}
        lines = [f"{path.relative_to(self.root)} {stat.st_size} {stat.st_mtime_ns}" for path, stat in files.items()]
        lines += [
            f"{part.path.relative_to(self.root)} {part.first} {part.start} {part.length}" for part in self.segments
        ]
        return hashlib.sha256("\n".join([_FORMAT, str(self.shape), *lines]).encode()).hexdigest()[:16]

    def _load(self, path: Path) -> UInt8[np.ndarray, "N H W 3"] | None:
        """The frames in a file; None when it is absent or holds something else."""
        try:
            frames = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return None
        return frames if frames.shape == self.shape and frames.dtype == np.uint8 else None

    def _build(self, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        # Writing to a memory map on a full disk kills the process instead of raising, so the space is checked first.
        free = shutil.disk_usage(target.parent).free
        if self.bytes > free:
            raise OSError(f"{self.bytes / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
        note(
            f"{target}: decoding {self.camera} once, {self.shape[0]} frames of {self.shape[2]}x{self.shape[1]}, "
            f"{_size(self.bytes)} (`wla data clear-cache {self.root}` removes it)"
        )
        partial = target.with_suffix(f".{os.getpid()}.partial")
        stop = Event()
        try:
            partial.unlink(missing_ok=True)
            frames = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=self.shape)
            with progress_bar() as progress, ThreadPoolExecutor(THREADS) as pool:
                task = progress.add_task(f"decoding {escape(self.camera)}", total=self.shape[0])
                try:
                    for job in self._decode_all(frames, pool, stop):
                        progress.advance(task, job.result())
                finally:
                    stop.set()
            frames.flush()
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)

    def _decode_all(self, frames: np.ndarray, pool: ThreadPoolExecutor, stop: Event) -> list[Future[int]]:
        """Jobs that decode all files into `frames`; each returns its number of frames."""
        files = by_file(self.segments)
        wanted = list(pool.map(self._wanted, files.values()))
        return [
            pool.submit(self._decode, path, piece, targets, frames, stop)
            for path, targets in zip(files, wanted, strict=True)
            for piece in self.files.pieces(path, list(targets))
        ]

    def _wanted(self, segments: Sequence[FileSegment]) -> dict[int, list[int]]:
        """Frames of one file, ascending, each with the frames of the dataset that show it."""
        targets: dict[int, list[int]] = {}
        for segment in segments:
            first = self.files.locate(segment)
            for offset in range(segment.length):
                targets.setdefault(first + offset, []).append(segment.start + offset)
        return dict(sorted(targets.items()))

    def _decode(
        self, path: Path, numbers: Sequence[int], targets: dict[int, list[int]], frames: np.ndarray, stop: Event
    ) -> int:
        """Decodes the frames `numbers` of one file into `frames`; returns to how many."""
        block: list[np.ndarray] = []
        count = 0
        for place, image in enumerate(self.files.read(path, numbers), start=1):
            if stop.is_set():
                break
            block.append(image)
            if len(block) == _BLOCK or place == len(numbers):
                for number, fitted in zip(numbers[place - len(block) : place], self.fit(np.stack(block)), strict=True):
                    frames[targets[number]] = fitted
                    count += len(targets[number])
                block = []
        return count


def clear_caches(root: Path) -> int:
    """Removes the decoded frames of a dataset and returns how many bytes they had."""
    removed = 0
    folder = path_below(root, FOLDER, root)
    for file in folder.glob("*.npy") if folder.is_dir() else ():
        removed += file.stat().st_size
        file.unlink()
    return removed


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


def _file_name(camera: str) -> str:
    """A file name of a camera's own, whatever characters its name has."""
    name = quote(camera, safe=" ")
    return name if len(name) <= _MAX_NAME else hashlib.sha256(camera.encode()).hexdigest()
