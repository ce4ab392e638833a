"""Segments as a CSV file that people edit: one line for each segment, in UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from wla.annotate.segments import Segment, validate_segments
from wla.data.lerobot.reader import Episode
from wla.files import atomic_write_text, disk_errors, read_text
from wla.foreign import damaged, is_lfs_pointer

HEADER = ("episode", "first_frame", "last_frame", "text")
"""Columns. Frames are counted within the episode, from 0; both ends belong to the segment."""


def read_csv(path: Path, episodes: Sequence[Episode]) -> list[Segment]:
    """Returns the segments of a file, in order. Frames that it does not list have no subtask.

    Raises:
        ValueError: the file is absent or damaged, or a segment is invalid (see `validate_segments`); the message
            contains the number of the line.
    """
    text = read_text(path, "CSV file", missing="no such CSV file; correct the path")
    if is_lfs_pointer(path):
        raise damaged(path, "CSV file", "")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    segments, locations = [], []
    try:
        header = tuple(cell.strip() for cell in next(reader, []))
        if header != HEADER:
            raise ValueError(
                f"{path} line 1: the header must be {','.join(HEADER)}, it is {','.join(header)!r}; correct it"
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            location = f"{path} line {reader.line_num}"
            segments.append(_segment(cells, location))
            locations.append(location)
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: not valid CSV ({error}); correct it") from error
    return validate_segments(segments, episodes, locations, "correct the line")


def _segment(cells: Sequence[str], location: str) -> Segment:
    if len(cells) != len(HEADER):
        raise ValueError(
            f"{location}: has {len(cells)} cells, the header {len(HEADER)}; correct it, a text with commas needs quotes"
        )
    try:
        episode, first, last = (int(cell) for cell in cells[:3])
    except ValueError:
        raise ValueError(f"{location}: episode and frames must be integers, they are {cells[:3]}; correct it") from None
    return Segment(episode, first, last, cells[3])


def write_csv(path: Path, segments: Sequence[Segment]) -> None:
    """Writes segments as a CSV file.

    Raises:
        ValueError: the file cannot be written; an existing one is unchanged then.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((segment.episode, segment.first, segment.last, segment.text) for segment in segments)
    with disk_errors(path, "give another file or free disk space"):
        atomic_write_text(path, buffer.getvalue())
