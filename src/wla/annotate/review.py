"""HTML report for reviewing and correcting the segments of a dataset and exporting them as CSV.

The file is self-contained: it embeds the frames as small JPEGs, one contact sheet for each episode. It therefore shows
exactly the frame at a boundary, whatever codec the videos have, and can be sent to the annotator.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from wla.annotate.csv_file import HEADER
from wla.annotate.frames import key_frames, primary_camera
from wla.annotate.segments import Segment
from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.files import atomic_write_text, disk_errors
from wla.html import data_url, jpeg, template
from wla.progress import progress_bar

MAX_IMAGES = 240
"""Largest number of images of an episode; those of longer episodes are evenly spaced."""
MAX_IMAGE_SIDE = 128
"""Longer side of an image, pixels."""
IMAGES_PER_ROW = 16
"""Images in one row of a contact sheet."""


def write_review_html(path: Path, dataset: LeRobotDataset, segments: Sequence[Segment], *, episodes: int) -> int:
    """Writes the HTML report.

    Args:
        path: HTML file.
        dataset: dataset with at least one camera.
        segments: labels to show.
        episodes: largest number of episodes to show, evenly spaced; the segments of all others are embedded too, so
            that the exported CSV is complete.

    Returns:
        Number of shown episodes.

    Raises:
        ValueError: the dataset has no camera, or the file cannot be written.
    """
    camera = primary_camera(dataset)
    last = len(dataset.episodes) - 1
    shown = np.unique(np.linspace(0, last, min(episodes, last + 1)).round().astype(int))
    with progress_bar() as progress:
        numbers = progress.track(shown.tolist(), description="drawing")
        sheets = {number: _contact_sheet(dataset, dataset.episodes[number], camera) for number in numbers}
    parts: list[list[tuple[int, int, str]]] = [[] for _ in dataset.episodes]
    for segment in segments:
        parts[segment.episode].append((segment.first, segment.last, segment.text))
    data = {
        "name": dataset.root.resolve().name,
        "fps": dataset.fps,
        "header": HEADER,
        "episodes": [
            {
                "index": episode.index,
                "instruction": episode.instruction,
                "length": len(episode),
                "segments": part,
                "sheet": sheets.get(number),
            }
            for number, (episode, part) in enumerate(zip(dataset.episodes, parts, strict=True))
        ],
    }
    html = template("annotate/review.html").render(data=data, num_shown=len(shown), num_episodes=len(dataset.episodes))
    with disk_errors(path, "give another file or free disk space"):
        atomic_write_text(path, html)
    return len(shown)


def _contact_sheet(dataset: LeRobotDataset, episode: Episode, camera: str) -> dict[str, Any]:
    """Returns the images of an episode as one JPEG, with their frame numbers and their size in pixels."""
    images, frames = dataset.frames(camera), key_frames(episode, MAX_IMAGES)
    thumbnails = [_thumbnail(images[episode.start + frame]) for frame in frames.tolist()]
    height, width, _ = thumbnails[0].shape
    rows = -(-len(thumbnails) // IMAGES_PER_ROW)
    sheet = np.zeros((rows * height, min(IMAGES_PER_ROW, len(thumbnails)) * width, 3), np.uint8)
    for number, thumbnail in enumerate(thumbnails):
        y, x = number // IMAGES_PER_ROW * height, number % IMAGES_PER_ROW * width
        sheet[y : y + height, x : x + width] = thumbnail
    url = data_url(jpeg(sheet, max(sheet.shape)))
    return {"url": url, "columns": IMAGES_PER_ROW, "width": width, "height": height, "frames": frames.tolist()}


def _thumbnail(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
    return np.asarray(thumbnail)
