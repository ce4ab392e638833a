"""Segments as a CSV file that people edit: a line per segment, in UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from wla.annotate.segments import Segment, validate_segments
from wla.data.lerobot.reader import Episode
from wla.files import atomic_write_text, disk_errors

HEADER = ("episode", "first_frame", "last_frame", "text")
"""Frames are counted within the episode, from 0; the last one belongs to the segment."""


def read_csv(path: Path, episodes: Sequence[Episode]) -> list[Segment]:
    """The segments of a file, in order; what it does not list has no subtask.

    ValueError in one line, with the line of the file, for whatever is wrong; see `validate_segments`.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such CSV file; correct the path")
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    segments, places = [], []
    try:
        header = tuple(cell.strip() for cell in next(reader, []))
        if header != HEADER:
            raise ValueError(
                f"{path} line 1: the header must be {','.join(HEADER)}, it is {','.join(header)!r}; correct it"
            )
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            place = f"{path} line {reader.line_num}"
            segments.append(_segment(cells, place))
            places.append(place)
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: is no CSV ({error}); correct it") from error
    return validate_segments(segments, episodes, places, "correct the line")


def _segment(cells: Sequence[str], place: str) -> Segment:
    if len(cells) != len(HEADER):
        raise ValueError(
            f"{place}: has {len(cells)} cells, the header {len(HEADER)}; correct it, a text with commas needs quotes"
        )
    try:
        episode, first, last = (int(cell) for cell in cells[:3])
    except ValueError:
        raise ValueError(
            f"{place}: episode and frames must be whole numbers, they are {cells[:3]}; correct it"
        ) from None
    return Segment(episode, first, last, cells[3])


def write_csv(path: Path, segments: Sequence[Segment]) -> None:
    """ValueError when the file cannot be written; an old one is as it was then."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((segment.episode, segment.first, segment.last, segment.text) for segment in segments)
    with disk_errors(path, "give another file or free disk space"):
        atomic_write_text(path, buffer.getvalue())
