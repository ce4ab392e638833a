"""Replaces the subtasks of a dataset: those of all frames or of none.

New data files are written beside the old ones, flushed to disk, and replace them as a whole folder; `meta/info.json`
follows. An error, Ctrl-C or a full disk leaves the old labels. So does a kill between the two renames of the folder:
the next reader restores it (`read_info`). A kill right before `meta/info.json` is replaced leaves columns that it does
not list, which are not read; labelling again repairs that.
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
    """Writes the subtask of every frame ('' for none) into `subtask_text` and into LeRobot's language columns.

    Other rows of the language columns are kept. `dataset` keeps the labels that it has read; open it again. ValueError
    when the folder cannot be written; nothing has changed then.
    """
    assert len(texts) == len(dataset)
    root, data = dataset.root, dataset.root / "data"
    if Path(dataset.info.data_path).parts[0] != "data":
        raise ValueError(
            f"{root / INFO}: data_path is {dataset.info.data_path!r}, labels can be written below data/ only"
        )
    files: dict[Path, list[FileSegment]] = {}
    for segment in dataset.data_segments():
        files.setdefault(segment.path, []).append(segment)
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
    """Writes one data file with its labels, by row group: a file with images may not fit into memory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    labels = pa.array([texts[frame] for part in segments for frame in range(part.start, part.start + part.length)])
    owner = pa.array(np.repeat(np.arange(len(segments)), [segment.length for segment in segments]))
    with pq.ParquetFile(source) as file, ExitStack() as opened:
        persistent = _persistent(file, segments, texts)
        writer: pq.ParquetWriter | None = None
        row = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            columns = {name: table[name] for name in table.column_names} | {
                SUBTASK: labels.slice(row, len(table)),
                PERSISTENT: persistent.take(owner.slice(row, len(table))),
            }
            if EVENTS not in columns:
                columns[EVENTS] = pa.array([[]] * len(table), EVENTS_TYPE)
            table = pa.table(columns)  # without the metadata of the old schema, which does not know the new columns
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(target, table.schema))
            writer.write_table(table)
            row += len(table)


def _persistent(file: pq.ParquetFile, segments: Sequence[FileSegment], texts: Sequence[str]) -> pa.Array:
    """The new `language_persistent` of each episode of a file: its other rows, and those of these subtasks."""
    seconds = file.read(["timestamp"])["timestamp"].to_pylist()
    others: list[list[LanguageRow]] = [[] for _ in segments]
    kind = PERSISTENT_TYPE
    if PERSISTENT in file.schema_arrow.names:
        column = file.read([PERSISTENT])[PERSISTENT]
        others = [[row for row in column[p.first].as_py() or [] if row["style"] != SUBTASK_STYLE] for p in segments]
        kind = _storage(column.type) if any(others) else kind
    lists = []
    for segment, kept in zip(segments, others, strict=True):
        subtasks = texts[segment.start : segment.start + segment.length]
        rows = kept + subtask_rows(subtasks, seconds[segment.first : segment.first + segment.length])
        lists.append(sorted(rows, key=lambda row: row["timestamp"]))
    return pa.array(lists, kind)


def _storage(kind: pa.DataType) -> pa.DataType:
    """The type without extension types (LeRobot's tool calls are JSON), which lists and structs cannot contain."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    if pa.types.is_list(kind):
        return pa.list_(_storage(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _storage(field.type)) for field in kind])
    return kind
