"""Subtasks of frames, from the first of these that has a text in any frame; they are never mixed.

1. `subtask_text`, our own column.
2. `language_persistent`, LeRobot's language column.
3. `subtask_index` of LeRobot's annotation tools: the number of a text in `meta/subtasks.parquet`.
4. `subtask`, a text in each frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from wla.data.lerobot.format import SUBTASK, SUBTASKS, DatasetInfo
from wla.data.lerobot.language import PERSISTENT, index_texts, persistent_rows, subtask_per_frame
from wla.data.lerobot.tables import is_text
from wla.data.lerobot.text_table import read_subtasks
from wla.data.video.frame_files import FileSegment

Texts = Sequence[str | None]
NUMBER, TEXT = "subtask_index", "subtask"


def read_frame_subtasks(
    root: Path, table: pa.Table, info: DatasetInfo, segments: Sequence[FileSegment]
) -> tuple[Int64[np.ndarray, " N"] | None, tuple[str, ...], str | None]:
    """Per frame the index of its subtask, -1 where it has none; the distinct subtasks; and the column that they come
    from. (None, (), None) when no frame has one.

    table: the frames, in order. segments: their rows in the data files. ValueError names a file that cannot be read.
    """
    fps = float(info.fps)
    sources: dict[str, Callable[[], Texts]] = {
        SUBTASK: lambda: _own(table),
        PERSISTENT: lambda: _persistent(segments, fps) if PERSISTENT in info.features else (),
        NUMBER: lambda: _numbered(root, table),
        TEXT: lambda: _plain(table),
    }
    for name, read in sources.items():
        texts = read()
        if any((text or "").strip() for text in texts):
            return *index_texts(texts), name
    return None, (), None


def _own(table: pa.Table) -> Texts:
    return table[SUBTASK].to_pylist() if SUBTASK in table.column_names else ()


def _persistent(segments: Sequence[FileSegment], fps: float) -> Texts:
    texts: list[str | None] = []
    for segment in segments:
        # Every frame of an episode repeats the same rows.
        (rows,) = persistent_rows(segment.path, [segment.first])
        texts += subtask_per_frame(rows, segment.length, fps)
    return texts


def _numbered(root: Path, table: pa.Table) -> Texts:
    """Texts by number; a number below 0 stands for none. Without a table of texts the numbers mean something else."""
    if NUMBER not in table.column_names or not (root / SUBTASKS).is_file():
        return ()
    try:
        numbers = table[NUMBER].cast(pa.int64()).fill_null(-1).to_numpy()
    except pa.ArrowException:
        return ()
    texts = read_subtasks(root)
    wrong = np.flatnonzero(numbers >= len(texts))
    if wrong.size:
        raise ValueError(
            f"{root / SUBTASKS}: has {len(texts)} texts, frame {wrong[0]} has {NUMBER} {numbers[wrong[0]]}; restore it"
        )
    return [texts[number] if number >= 0 else None for number in numbers]


def _plain(table: pa.Table) -> Texts:
    if TEXT not in table.column_names or not is_text(table[TEXT].type):
        return ()
    return table[TEXT].cast(pa.string()).to_pylist()
