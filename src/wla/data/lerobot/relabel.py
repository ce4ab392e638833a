"""Give the frames of a dataset other subtasks: all of them or none.

New data files are written beside the old ones, flushed to disk, and take their place as a whole folder;
`meta/info.json` follows. An error, Ctrl-C or a full disk leaves the old labels. So does a kill between the two renames
of the folder: the next reader puts it back (`read_info`). A kill right before `meta/info.json` is replaced leaves
columns that it does not list, which are not read; labelling again mends that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wla import runtime
from wla.data.lerobot.format import INFO, SUBTASK, DatasetInfo, Feature
from wla.data.lerobot.language import (
    EVENTS,
    EVENTS_TYPE,
    LANGUAGE_FEATURE,
    PERSISTENT,
    PERSISTENT_TYPE,
    SUBTASK_STYLE,
    LanguageRow,
    subtask_rows,
)
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.video.frame_cache import FileSegment
from wla.files import atomic_dir


def relabel(dataset: LeRobotDataset, texts: Sequence[str]) -> None:
    """Write the subtask of every frame ('' for none) into `subtask_text` and into LeRobot's language columns.

    What else the language columns say is kept. `dataset` keeps the labels that it read; open it again. ValueError when
    the folder cannot be written; nothing was changed then.
    """
    assert len(texts) == len(dataset)
    root, data = dataset.root, dataset.root / "data"
    if Path(dataset.info.data_path).parts[0] != "data":
        raise ValueError(
            f"{root / INFO}: data_path is {dataset.info.data_path!r}, labels can be written below data/ only"
        )
    files: dict[Path, list[FileSegment]] = {}
    for piece in dataset.data_segments():
        files.setdefault(piece.path, []).append(piece)
    staged = root / INFO.replace("info", ".info.labels")
    with _write_errors(root), ExitStack() as held:
        held.callback(staged.unlink, missing_ok=True)
        with atomic_dir(data) as fresh:
            for path, segments in files.items():
                _write_file(path, fresh / path.relative_to(data), segments, texts)
            staged.write_text(_with_features(dataset.info).model_dump_json(indent=4) + "\n", encoding="utf-8")
            for file in (*fresh.rglob("*.parquet"), staged):
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
            interrupted = held.enter_context(runtime.defer_signals())
        os.replace(staged, root / INFO)
    if interrupted():
        raise KeyboardInterrupt("the labels had just been written")


@contextmanager
def _write_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        line = " ".join(str(error).split())
        raise ValueError(
            f"{root}: cannot write ({line}); nothing was changed, free disk space and run again"
        ) from error


def _with_features(info: DatasetInfo) -> DatasetInfo:
    added = {
        SUBTASK: Feature(dtype="string", shape=(1,)),
        PERSISTENT: LANGUAGE_FEATURE,
        EVENTS: LANGUAGE_FEATURE,
    }
    return info.model_copy(update={"features": added | info.features})


def _write_file(source: Path, target: Path, segments: Sequence[FileSegment], texts: Sequence[str]) -> None:
    """One data file with its labels, in the row groups that it had: images may make a whole file large."""
    target.parent.mkdir(parents=True, exist_ok=True)
    own = pa.array([texts[frame] for piece in segments for frame in range(piece.start, piece.start + piece.length)])
    owner = pa.array(np.repeat(np.arange(len(segments)), [piece.length for piece in segments]))
    with pq.ParquetFile(source) as file, ExitStack() as opened:
        said = _persistent(file, segments, texts)
        writer: pq.ParquetWriter | None = None
        row = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            columns = {name: table[name] for name in table.column_names} | {
                SUBTASK: own.slice(row, len(table)),
                PERSISTENT: said.take(owner.slice(row, len(table))),
            }
            if EVENTS not in columns:
                columns[EVENTS] = pa.array([[]] * len(table), EVENTS_TYPE)
            table = pa.table(columns)  # without the old schema's notes, which do not know the new columns
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(target, table.schema))
            writer.write_table(table)
            row += len(table)


def _persistent(file: pq.ParquetFile, segments: Sequence[FileSegment], texts: Sequence[str]) -> pa.Array:
    """The new `language_persistent` of each episode of a file: what was there, with these subtasks."""
    seconds = file.read(["timestamp"])["timestamp"].to_pylist()
    there: list[list[LanguageRow]] = [[] for _ in segments]
    kind = PERSISTENT_TYPE
    if PERSISTENT in file.schema_arrow.names:
        column = file.read([PERSISTENT])[PERSISTENT]
        there = [[row for row in column[p.first].as_py() or [] if row["style"] != SUBTASK_STYLE] for p in segments]
        kind = _storage(column.type) if any(there) else kind
    lists = []
    for piece, kept in zip(segments, there, strict=True):
        words = texts[piece.start : piece.start + piece.length]
        rows = kept + subtask_rows(words, seconds[piece.first : piece.first + piece.length])
        lists.append(sorted(rows, key=lambda row: row["timestamp"]))
    return pa.array(lists, kind)


def _storage(kind: pa.DataType) -> pa.DataType:
    """The type without extensions (LeRobot's tool calls are JSON), which lists and structs cannot be built of."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    if pa.types.is_list(kind):
        return pa.list_(_storage(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _storage(field.type)) for field in kind])
    return kind
