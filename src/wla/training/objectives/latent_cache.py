"""Latents of a dataset's frames by a frozen image codec, in a memory-mapped file beside the decoded frames."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float16

from wla import runtime
from wla.data import LeRobotDataset
from wla.data.training_frames import Frames, open_training_frames
from wla.models.image_codec import ImageCodec
from wla.models.model import PolicyModel
from wla.progress import note, track
from wla.specs import ImageFit

BATCH = 64


def latents_of(
    model: PolicyModel[Any], datasets: Sequence[LeRobotDataset], cameras: Sequence[str | None]
) -> list[Float16[np.ndarray, "_ C h w"]]:
    """Latents of the frames of each dataset's camera as the model's codec sees them; see `cached_latents`.

    ValueError for a model without a codec, or a dataset without the camera.
    """
    codec, interface = model.image_codec, model.config.interface
    if codec is None or codec.quantizer is not None or interface.subgoal_size is None:
        raise ValueError(f"cache_latents: a model of kind {model.config.kind!r} reads no latents; leave it out")
    return [
        cached_latents(dataset, camera or "", interface.subgoal_size, interface.image_fit, codec)
        for dataset, camera in zip(datasets, cameras, strict=True)
    ]


def cached_latents(
    dataset: LeRobotDataset, camera: str, side: int, fit: ImageFit, codec: ImageCodec
) -> Float16[np.ndarray, "N C h w"]:
    """A read-only memory map of the scaled latents of all frames of a camera, encoded first where that has not been
    done by this codec.

    side, fit: the squares that the codec sees. Half precision, in which latents of unit variance are exact to 5e-4.

    ValueError when the dataset lacks the camera, frames are damaged, or the cache cannot be written.
    """
    if camera not in dataset.cameras:
        raise ValueError(f"{dataset.root}: no camera {camera!r}; it has {', '.join(dataset.cameras)}")
    if side % codec.config.downsampling:
        raise ValueError(f"{side} px: this codec needs a multiple of {codec.config.downsampling}")
    target = dataset.camera_frames(camera).cache(side, fit).beside(f"latents-{_sha256(codec)[:16]}")
    shape = (len(dataset), codec.config.latent_channels, *[side // codec.config.downsampling] * 2)
    kept = _load(target, shape)
    if kept is not None:
        return kept
    frames = open_training_frames(dataset, {camera: [side]}, fit)[camera, side]
    try:
        _encode(frames, codec, target, shape)
    except OSError as error:
        raise ValueError(
            f"{target.parent}: cannot write latents ({error}); free disk space, copy the dataset, or train without "
            "(cache_latents=false)"
        ) from error
    for other in target.parent.glob(f"{glob.escape(target.stem.rpartition('-')[0])}-*.npy"):
        if other != target:  # of files that have changed since
            other.unlink()
    kept = _load(target, shape)
    assert kept is not None
    return kept


def _load(path: Path, shape: tuple[int, ...]) -> Float16[np.ndarray, "N C h w"] | None:
    """The latents in a file; None when it is absent or holds something else."""
    try:
        kept = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.shape == shape and kept.dtype == np.float16 else None


def _encode(frames: Frames, codec: ImageCodec, target: Path, shape: tuple[int, ...]) -> None:
    size = 2 * int(np.prod(shape))
    target.parent.mkdir(exist_ok=True)
    # Writing to a memory map on a full disk kills the process instead of raising, so the space is checked first.
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise OSError(f"{size / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")
    note(f"{target}: encoding {shape[0]} frames once, {size / 1e6:.1f} MB (`wla data clear-cache` removes it)")
    device = runtime.device(None)
    codec = codec.to(device)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    try:
        latents = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        for first in track(range(0, shape[0], BATCH), total=-(-shape[0] // BATCH), description="encoding frames"):
            block = np.arange(first, min(first + BATCH, shape[0]))
            images = torch.from_numpy(np.asarray(frames[block])).to(device)
            latents[block] = codec.encode(images).cpu().half().numpy()
        latents.flush()
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(codec: ImageCodec) -> str:
    digest = hashlib.sha256(codec.config.model_dump_json().encode())
    for name, value in sorted(codec.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()
