"""Replaces the subtasks of a dataset: those of all frames or of none.

New data files are written beside the old ones, flushed to disk, and replace them as a whole folder, together with
whatever else lies there; `meta/info.json` follows. The files that were there are kept for `label_backup.undo`.
An error, Ctrl-C or a full disk leaves the old labels. So does a kill between the two renames of the folder: the next
reader restores it (`read_info`). A kill right before `meta/info.json` is replaced leaves columns that it does not
list, which are not read; labelling again repairs that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wla.data.lerobot.format import INFO, SUBTASK, DatasetInfo, Feature, require_tables
from wla.data.lerobot.label_backup import discard, keep, replaced_data
from wla.data.lerobot.language import (
    EVENTS,
    EVENTS_TYPE,
    LANGUAGE_FEATURE,
    PERSISTENT,
    PERSISTENT_TYPE,
    SUBTASK_STYLE,
    LanguageRow,
    persistent_rows,
    subtask_rows,
)
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.tables import count_rows, read_schema, read_table, typed
from wla.data.video.frame_files import FileSegment, by_file
from wla.locks import locked
from wla.signals import defer_signals


def relabel(dataset: LeRobotDataset, texts: Sequence[str], *, language_columns: bool = False) -> None:
    """Writes the subtask of every frame ('' for none) into `subtask_text` and, where the dataset has them or with
    `language_columns`, into LeRobot's language columns, which its versions before 0.5 cannot open.

    Other rows of the language columns are kept, and so is every other file. `dataset` keeps the labels that it has
    read; open it again. ValueError when the folder cannot be written; nothing has changed then.
    """
    assert len(texts) == len(dataset)
    require_tables(dataset.root, dataset.info)
    root, data = dataset.root, dataset.root / "data"
    files = by_file(dataset.data_segments)
    for path, segments in files.items():
        segments.sort(key=lambda segment: segment.first)
        if (rows := count_rows(path)) != sum(segment.length for segment in segments):
            raise ValueError(
                f"{path}: {rows} rows hold more than the episodes that {INFO} counts; correct total_episodes and "
                "total_frames first, nothing was changed"
            )
    language = language_columns or PERSISTENT in dataset.info.features
    staged = root / INFO.replace("info", ".info.labels")
    with locked(root), _write_errors(root), ExitStack() as held:
        held.callback(staged.unlink, missing_ok=True)
        with replaced_data(root, files) as fresh:
            for path, segments in files.items():
                _write_file(path, fresh / path.relative_to(data), segments, texts, language=language)
            info = _with_features(dataset.info, language=language)
            staged.unlink(missing_ok=True)  # a link in a downloaded folder would be written through
            staged.write_text(info.model_dump_json(indent=4) + "\n", encoding="utf-8")
            for file in (*fresh.rglob("*.parquet"), staged):
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
            interrupted = held.enter_context(defer_signals())
            step = keep(root, files, fresh, staged)
            held.push(lambda kind, *_: discard(step) if kind is not None else None)
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


def _with_features(info: DatasetInfo, *, language: bool) -> DatasetInfo:
    added = {SUBTASK: Feature(dtype="string", shape=(1,))}
    if language:
        added |= {PERSISTENT: LANGUAGE_FEATURE, EVENTS: LANGUAGE_FEATURE}
    return info.model_copy(update={"features": added | info.features})


def _write_file(
    source: Path, target: Path, segments: Sequence[FileSegment], texts: Sequence[str], *, language: bool
) -> None:
    """Writes one data file with its labels, by row group: a file with images may not fit into memory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    labels = pa.array([texts[frame] for part in segments for frame in range(part.start, part.start + part.length)])
    owner = pa.array(np.repeat(np.arange(len(segments)), [segment.length for segment in segments]))
    persistent = _persistent(source, segments, texts) if language else None
    with pq.ParquetFile(source) as file, ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        row = 0
        for group in range(file.num_row_groups):
            table = _with_column(
                file.read_row_group(group), SUBTASK, labels.slice(row, file.metadata.row_group(group).num_rows)
            )
            if persistent is not None:
                table = _with_column(table, PERSISTENT, persistent.take(owner.slice(row, len(table))))
                if EVENTS not in table.column_names:
                    table = table.append_column(EVENTS, pa.array([[]] * len(table), EVENTS_TYPE))
            # Notes of the datasets library on the columns would not list the new ones.
            notes = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"huggingface"}
            table = table.replace_schema_metadata(notes or None)
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(target, table.schema))
            writer.write_table(table)
            row += len(table)


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    """The table with this column, in the place of one of that name."""
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)


def _persistent(source: Path, segments: Sequence[FileSegment], texts: Sequence[str]) -> pa.Array:
    """The new `language_persistent` of each episode of a file: its other rows, and those of these subtasks."""
    schema = read_schema(source)
    seconds = typed(read_table(source, ["timestamp"]), "timestamp", pa.float64(), source).to_pylist()
    others: list[list[LanguageRow]] = [[] for _ in segments]
    kind = PERSISTENT_TYPE
    if PERSISTENT in schema.names:
        found = persistent_rows(source, [part.first for part in segments])
        others = [[row for row in rows if row["style"] != SUBTASK_STYLE] for rows in found]
        kind = _storage(schema.field(PERSISTENT).type) if any(others) else kind
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
