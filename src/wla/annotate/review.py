"""One HTML page to look at the segments of a dataset, to correct them and to export them as CSV.

The file needs nothing but itself: the frames are inside it as small JPEGs, one sheet for each episode, so that the page
shows exactly the frame that a border is at, whatever codec the videos have, and can be sent to whoever corrects it.
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
"""Pictures of an episode at most; of a longer one they are spread evenly."""
MAX_IMAGE_SIDE = 128
"""Pixels of a picture's longer side."""
IMAGES_PER_ROW = 16
"""Pictures in a row of a sheet."""


def write_review_html(path: Path, dataset: LeRobotDataset, segments: Sequence[Segment], *, episodes: int) -> int:
    """Write the page and return how many episodes it shows: `episodes`, spread evenly, or all there are.

    The segments of the others are in the page too, so that its CSV is whole. ValueError when it cannot be written.
    """
    camera = primary_camera(dataset)
    last = len(dataset.episodes) - 1
    shown = np.unique(np.linspace(0, last, min(episodes, last + 1)).round().astype(int))
    with progress_bar() as progress:
        chosen = progress.track(shown.tolist(), description="drawing")
        sheets = {number: _contact_sheet(dataset, dataset.episodes[number], camera) for number in chosen}
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
    """The pictures of an episode in one JPEG, with the frame that each shows and their size in pixels."""
    images, frames = dataset.frames(camera), key_frames(episode, MAX_IMAGES)
    pictures = [_thumbnail(images[episode.start + frame]) for frame in frames.tolist()]
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // IMAGES_PER_ROW)
    sheet = np.zeros((rows * height, min(IMAGES_PER_ROW, len(pictures)) * width, 3), np.uint8)
    for number, picture in enumerate(pictures):
        y, x = number // IMAGES_PER_ROW * height, number % IMAGES_PER_ROW * width
        sheet[y : y + height, x : x + width] = picture
    url = data_url(jpeg(sheet, max(sheet.shape)))
    return {"url": url, "columns": IMAGES_PER_ROW, "width": width, "height": height, "frames": frames.tolist()}


def _thumbnail(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    picture = Image.fromarray(image)
    picture.thumbnail((MAX_IMAGE_SIDE, MAX_IMAGE_SIDE))
    return np.asarray(picture)
