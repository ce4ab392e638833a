"""Language of frames: our own column `subtask_text`, and LeRobot's language columns.

LeRobot's `language_persistent` repeats, in every frame of an episode, all texts that are valid for several frames: rows
with role, content, style, timestamp (seconds in the episode), camera and tool calls. A row of style `subtask` is valid
until the next one begins. `language_events` holds texts of single frames, none of which is a subtask.
Format reference: huggingface/lerobot, `src/lerobot/datasets/language.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from wla.data.lerobot.format import Feature
from wla.data.lerobot.tables import read_table
from wla.foreign import one_line

PERSISTENT = "language_persistent"
EVENTS = "language_events"
LANGUAGE_FEATURE = Feature(dtype="language", shape=(1,))
SUBTASK_STYLE = "subtask"

LanguageRow = dict[str, Any]
"""One entry of a language column."""

_COMMON = {"role": pa.string(), "content": pa.string(), "style": pa.string()}
_LAST = {"camera": pa.string(), "tool_calls": pa.list_(pa.string())}
PERSISTENT_TYPE = pa.list_(pa.struct(_COMMON | {"timestamp": pa.float32()} | _LAST))
EVENTS_TYPE = pa.list_(pa.struct(_COMMON | _LAST))


def index_texts(texts: Sequence[str | None]) -> tuple[Int64[np.ndarray, " N"] | None, tuple[str, ...]]:
    """Per frame the index of its text, -1 where it has none (null, empty or blank), and the distinct texts, sorted.

    (None, ()) when no frame has one.
    """
    clean = np.array([(text or "").strip() for text in texts], dtype=object)
    distinct = tuple(sorted(set(clean) - {""}))
    if not distinct:
        return None, ()
    numbers = {text: number for number, text in enumerate(distinct)} | {"": -1}
    return np.array([numbers[text] for text in clean], np.int64), distinct


def persistent_rows(path: Path, frames: Sequence[int]) -> list[list[LanguageRow]]:
    """The rows of `language_persistent` in these rows of a data file. ValueError when the column is of another type or
    a subtask in it has no time."""
    column = read_table(path, [PERSISTENT])[PERSISTENT]
    kind = column.type
    fields = kind.value_type if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type) else pa.struct([])
    if any(fields.get_field_index(name) < 0 for name in ("style", "content", "timestamp")):
        raise ValueError(
            f"{path}: column {PERSISTENT!r} is {one_line(kind)}, it must be lists of rows with style, content and "
            "timestamp; restore the file"
        )
    found = [column[frame].as_py() or [] for frame in frames]
    for row in (row for rows in found for row in rows if row is None or row["style"] == SUBTASK_STYLE):
        if row is None or not isinstance(row["timestamp"], float) or not math.isfinite(row["timestamp"]):
            raise ValueError(f"{path}: column {PERSISTENT!r} has a subtask without a time; restore the file")
        if not isinstance(row["content"], str | None):
            raise ValueError(f"{path}: column {PERSISTENT!r} has a subtask that is not a text; restore the file")
    return found


def subtask_per_frame(rows: Sequence[LanguageRow], length: int, fps: float) -> list[str | None]:
    """The subtask of each of `length` frames: that of the latest row of style `subtask` that has begun."""
    texts: list[str | None] = [None] * length
    for row in sorted((row for row in rows if row["style"] == SUBTASK_STYLE), key=lambda row: row["timestamp"]):
        first = max(0, round(row["timestamp"] * fps))
        texts[first:] = [row["content"]] * len(texts[first:])
    return texts


def subtask_rows(texts: Sequence[str], timestamps: Sequence[float]) -> list[LanguageRow]:
    """Language rows of the subtasks `texts` ('' for none), one per frame of an episode.

    Frames without a subtask after others get a row with empty content: otherwise the last subtask would continue.
    """
    rows: list[LanguageRow] = []
    for text, frames in groupby(range(len(texts)), key=lambda frame: texts[frame]):
        if text or rows:
            rows.append(
                {
                    "role": "assistant",
                    "content": text,
                    "style": SUBTASK_STYLE,
                    "timestamp": timestamps[next(frames)],
                    "camera": None,
                    "tool_calls": None,
                }
            )
    return rows
