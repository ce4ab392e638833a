"""Camera and key frames of an episode, for vision-language models and HTML reports."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from wla.data.lerobot.reader import Episode, LeRobotDataset


def primary_camera(dataset: LeRobotDataset) -> str:
    """Returns the camera that shows the scene. ValueError when the dataset has no camera."""
    if dataset.robot_spec is not None:
        return dataset.robot_spec.observation.primary_camera
    if not dataset.readable_cameras:
        raise ValueError(f"{dataset.root}: has no camera; annotate with --rules or --csv")
    return dataset.readable_cameras[0]


def key_frames(episode: Episode, count: int) -> Int64[np.ndarray, " K"]:
    """Returns at most `count` evenly spaced frame indices within the episode, (K,), including first and last."""
    return np.unique(np.linspace(0, len(episode) - 1, min(count, len(episode))).round().astype(np.int64))
