"""Frames of an episode as small JPEG files, for a model or a page to look at."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from wla.data.lerobot import Episode, LeRobotDataset

QUALITY = 80


def primary_camera(dataset: LeRobotDataset) -> str:
    """The camera that shows the scene. ValueError when the dataset has none."""
    if dataset.robot_spec is not None:
        return dataset.robot_spec.observation.primary_camera
    if not dataset.cameras:
        raise ValueError(f"{dataset.root}: has no camera to look through; annotate with --rules or --csv")
    return next(iter(dataset.cameras))


def key_frames(episode: Episode, count: int) -> Int64[np.ndarray, " K"]:
    """At most `count` frames of the episode, counted within it and spread evenly, both ends included."""
    return np.unique(np.linspace(0, len(episode) - 1, min(count, len(episode))).round().astype(np.int64))


def jpeg(image: UInt8[np.ndarray, "H W 3"], longest: int) -> bytes:
    """A JPEG whose longer side has at most `longest` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((longest, longest))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def data_url(file: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(file).decode()}"
