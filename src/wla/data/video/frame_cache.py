"""Decoded video frames in a memory-mapped file, so that training reads images by plain indexing."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from urllib.parse import quote

import numpy as np
from jaxtyping import UInt8
from rich.markup import escape

from wla.foreign import path_below
from wla.progress import progress_bar

_FOLDER = ".cache"
_MAX_NAME = 150


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
    folder = path_below(root, _FOLDER, root)
    name = _file_name(camera)
    target = path_below(root, f"{_FOLDER}/{name}-{_key(root, segments, shape)}.npy", root)
    frames = _load(target, shape)
    if frames is None:
        try:
            _build(folder, target, camera, segments, shape, decode)
        except OSError as error:
            raise ValueError(
                f"{folder}: cannot write decoded frames ({error}); free disk space or copy the dataset"
            ) from error
        for other in folder.iterdir():
            if other != target and re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{16}}\.npy", other.name):
                other.unlink()  # decoded from videos that have changed since
        frames = _load(target, shape)
        assert frames is not None
    return frames


def _file_name(camera: str) -> str:
    """A file name of a camera's own, whatever characters its name has."""
    name = quote(camera, safe=" ")
    return name if len(name) <= _MAX_NAME else hashlib.sha256(camera.encode()).hexdigest()


def _load(path: Path, shape: tuple[int, int, int, int]) -> UInt8[np.ndarray, "N H W 3"] | None:
    """The frames in a file; None when it is absent or holds something else."""
    try:
        frames = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return frames if frames.shape == shape and frames.dtype == np.uint8 else None


def _key(root: Path, segments: Sequence[FileSegment], shape: tuple[int, ...]) -> str:
    files = {segment.path: segment.path.stat() for segment in segments}
    lines = [f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}" for path, stat in files.items()]
    lines += [
        f"{segment.path.relative_to(root)} {segment.first} {segment.start} {segment.length}" for segment in segments
    ]
    return hashlib.sha256("\n".join([str(shape), *lines]).encode()).hexdigest()[:16]


def _build(
    folder: Path,
    target: Path,
    camera: str,
    segments: Sequence[FileSegment],
    shape: tuple[int, int, int, int],
    decode: Decoder,
) -> None:
    folder.mkdir(exist_ok=True)
    # Writing to a memory map on a full disk kills the process instead of raising, so the space is checked first.
    needed, free = math.prod(shape), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
    partial = target.with_suffix(f".{os.getpid()}.partial")
    files: dict[Path, list[FileSegment]] = {}
    for segment in segments:
        files.setdefault(segment.path, []).append(segment)
    stop = Event()
    try:
        partial.unlink(missing_ok=True)
        frames = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        with progress_bar() as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
            task = progress.add_task(f"decoding {escape(camera)}", total=shape[0])
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
        if count > len(target):
            raise ValueError(f"{path}: holds more than {len(target)} frames, those of its episodes; restore the file")
        frames[target[count - 1]] = frame
    if count != len(target):
        raise ValueError(
            f"{path}: holds {count} frames, the episodes {len(target)}; restore the file or collect the dataset again"
        )
    return count
