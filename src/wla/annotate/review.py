"""HTML page for reviewing and correcting the segments of a dataset and exporting them as CSV.

It works offline: the clips lie in a folder beside it or are embedded, encoded frame by frame, so that it shows exactly
the frame at a boundary, whatever codec the videos of the dataset have.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wla.annotate.csv_file import HEADER
from wla.annotate.segments import Segment
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.viewer.page import Part, write_dataset_page


def write_review_html(
    path: Path, dataset: LeRobotDataset, segments: Sequence[Segment], *, episodes: int, single_file: bool = False
) -> int:
    """Writes the page.

    Args:
        path: HTML file.
        dataset: any dataset.
        segments: labels to show.
        episodes: largest number of episodes to show, evenly spaced; the segments of all others are in the page too, so
            that the exported CSV is complete.
        single_file: whether the clips are embedded in the page.

    Returns:
        Number of shown episodes.

    Raises:
        ValueError: a video is damaged, or the page cannot be written.
    """
    return write_dataset_page(
        path,
        dataset,
        parts_of(segments),
        page="annotate/review.html",
        episodes=episodes,
        single_file=single_file,
        header=HEADER,
    )


def parts_of(segments: Sequence[Segment]) -> dict[int, list[Part]]:
    """Returns the segments by episode, as a page of a dataset takes them."""
    parts: dict[int, list[Part]] = {}
    for segment in segments:
        parts.setdefault(segment.episode, []).append((segment.first, segment.last, segment.text))
    return parts
