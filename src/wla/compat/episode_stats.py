"""Statistics of an episode for datasets that come without them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wla.data.lerobot.format import DatasetInfo, frame_rate
from wla.data.lerobot.image_files import ParquetImages
from wla.data.lerobot.stats import SAMPLED_FRAMES, image_stats, vector_stats
from wla.data.lerobot.tables import read_table
from wla.data.lerobot.vectors import matrix
from wla.data.video.video_files import VideoFiles


def computed_stats(root: Path, info: DatasetInfo, path: Path, clips: Mapping[str, Path], length: int) -> dict[str, Any]:
    """Statistics by feature, from the rows of an episode and some of its images.

    path: its parquet file. clips: video feature -> its file. ValueError when one of them is absent or damaged.
    """
    table = read_table(path)
    chosen = np.unique(np.linspace(0, length - 1, SAMPLED_FRAMES).round().astype(int)).tolist()
    stats: dict[str, Any] = {}
    for key, feature in info.features.items():
        if key in info.cameras.values() and info.is_colour(key):
            size = info.image_size(root, key)
            rate = frame_rate(float(info.fps))
            files = VideoFiles(rate, size) if key in clips else ParquetImages(key, size)
            stats[key] = image_stats(list(files.read(clips.get(key, path), chosen)))
        elif key in table.column_names and (numbers := matrix(table, key, feature)) is not None:
            stats[key] = vector_stats(numbers)
    return stats
