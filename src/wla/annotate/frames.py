"""Which frames of an episode a model or a page looks at."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from wla.data.lerobot.reader import Episode, LeRobotDataset


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
