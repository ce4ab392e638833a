"""Decoded video frames in a memory-mapped file, so that training reads images by plain indexing."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
from jaxtyping import UInt8

from wla.progress import progress_bar

_FOLDER = ".cache"


@dataclass(frozen=True)
class FileSegment:
    """`length` frames of a file, from its frame `first`, that are the frames of a dataset from `start`.

    The segments of one file cover it from the first frame to the last, without gaps.
    """

    path: Path
    first: int
    start: int
    length: int


Decoder = Callable[[Path], Iterator[UInt8[np.ndarray, "H W 3"]]]
"""All frames of a file in order."""


def cached_frames(
    root: Path, camera: str, segments: Sequence[FileSegment], shape: tuple[int, int, int, int], decode: Decoder
) -> UInt8[np.ndarray, "N H W 3"]:
    """The frames of all segments as one read-only memory map of `shape`, decoded again if the files have changed.

    ValueError when a file is damaged or has the wrong number of frames, or the cache cannot be written.
    """
    folder = root / _FOLDER
    target = folder / f"{camera}-{_key(root, segments, shape)}.npy"
    if not target.exists():
        try:
            _build(folder, target, segments, shape, decode)
        except OSError as error:
            raise ValueError(
                f"{folder}: cannot write decoded frames ({error}); free disk space or copy the dataset"
            ) from error
        for other in folder.glob(f"{camera}-*.npy"):
            if other != target:
                other.unlink()  # decoded from videos that have changed since
    return np.load(target, mmap_mode="r")


def _key(root: Path, segments: Sequence[FileSegment], shape: tuple[int, ...]) -> str:
    files = {segment.path: segment.path.stat() for segment in segments}
    lines = [f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}" for path, stat in files.items()]
    lines += [
        f"{segment.path.relative_to(root)} {segment.first} {segment.start} {segment.length}" for segment in segments
    ]
    return hashlib.sha256("\n".join([str(shape), *lines]).encode()).hexdigest()[:16]


def _build(
    folder: Path, target: Path, segments: Sequence[FileSegment], shape: tuple[int, int, int, int], decode: Decoder
) -> None:
    folder.mkdir(exist_ok=True)
    # Writing to a memory map on a full disk kills the process instead of raising, so the space is checked first.
    needed, free = int(np.prod(shape)), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
    partial = target.with_suffix(f".{os.getpid()}.partial")
    files: dict[Path, list[FileSegment]] = {}
    for segment in segments:
        files.setdefault(segment.path, []).append(segment)
    stop = Event()
    try:
        frames = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        with progress_bar() as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
            task = progress.add_task(f"decoding {target.stem.rpartition('-')[0]}", total=shape[0])
            jobs = [pool.submit(_decode_file, path, part, frames, decode, stop) for path, part in files.items()]
            try:
                for job in jobs:
                    progress.advance(task, job.result())
            finally:
                stop.set()
        frames.flush()
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _decode_file(path: Path, segments: Sequence[FileSegment], frames: np.ndarray, decode: Decoder, stop: Event) -> int:
    """Decodes one file into `frames`; returns the number of its frames."""
    ordered = sorted(segments, key=lambda segment: segment.first)
    target = np.concatenate([np.arange(segment.start, segment.start + segment.length) for segment in ordered])
    count = 0
    for count, frame in enumerate(decode(path), start=1):
        if stop.is_set():
            return count
        if frame.shape != frames.shape[1:]:
            raise ValueError(f"{path}: frame {count - 1} is {frame.shape}, meta/info.json has {frames.shape[1:]}")
        if count <= len(target):
            frames[target[count - 1]] = frame
    if count != len(target):
        raise ValueError(
            f"{path}: holds {count} frames, the episodes {len(target)}; restore the file or collect the dataset again"
        )
    return count
