"""HDF5 files of others: types and declared sizes are compared before anything is read into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wla.data.images import MAX_PIXELS, decode_image
from wla.foreign import damaged

MAX_EPISODE_BYTES = 2**34


def require_h5py(source: Path) -> None:
    """ValueError when h5py is not installed."""
    try:
        import h5py  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"{source}: reading HDF5 needs h5py; run pip install h5py") from error


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Context with a file. ValueError when it is damaged, also while it is read."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise damaged(path, "HDF5 file", error) from error


def array(file: Any, path: Path, name: str) -> np.ndarray:
    """A dataset of a file with at least one dimension. ValueError for anything else, before it is read into memory."""
    node = file.get(name)
    if not getattr(node, "ndim", 0):
        raise ValueError(f"{path}: /{name} is not a series of frames; restore it")
    if node.size * node.dtype.itemsize > MAX_EPISODE_BYTES:
        raise ValueError(f"{path}: /{name} is larger than {MAX_EPISODE_BYTES >> 30} GiB; restore it")
    return np.asarray(node[()])


def columns(file: Any, path: Path, names: Sequence[str], hint: str = "restore it") -> list[np.ndarray]:
    """Datasets of finite numbers as float32 matrices of one length; one-dimensional ones become a column.

    hint: what to do where one is missing.
    """
    missing = [name for name in names if name not in file]
    if missing:
        raise ValueError(f"{path}: /{missing[0]} is missing; {hint}")
    arrays = [array(file, path, name) for name in names]
    for name, values in zip(names, arrays, strict=True):
        if values.dtype.kind not in "fiub" or not values.size:
            raise ValueError(f"{path}: /{name} is {values.dtype} {values.shape}, numbers are required; restore it")
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: /{name} has values that are not finite; remove the episode")
        if len(values) != len(arrays[0]):
            raise ValueError(f"{path}: /{name} has {len(values)} frames, /{names[0]} {len(arrays[0])}; restore it")
    return [values.astype(np.float32).reshape(len(values), -1) for values in arrays]


def images(
    file: Any, path: Path, name: str, length: int, decode: Callable[[bytes], np.ndarray] = decode_image
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The images of a camera as they are stored: pixels, or encoded files (padded with zeros).

    length: number that there must be. decode: reads an encoded file. ValueError for another number, and for a damaged
    image.
    """
    node = file[name]
    pixels = getattr(node, "ndim", 0) == 4 and node.shape[3] == 3 and node.dtype == np.uint8
    if pixels and node.shape[1] * node.shape[2] > MAX_PIXELS:
        raise ValueError(f"{path}: /{name} has images of {node.shape[1]}x{node.shape[2]} pixels; restore it")
    encoded = None if pixels else array(file, path, name)
    count = len(node if encoded is None else encoded)
    if count != length:
        raise ValueError(f"{path}: /{name} has {count} images for {length} frames; restore it")
    for frame in range(length):
        if encoded is None:
            yield np.asarray(node[frame])
            continue
        try:
            yield decode(bytes(encoded[frame]))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: /{name}, frame {frame}: {error}; restore the file") from error
