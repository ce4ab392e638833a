"""Parquet files of others: sizes and types are compared before anything is decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from wla.foreign import damaged, one_line

HINT = "restore the file or collect the dataset again"
_BATCH_BYTES = 2**28
"""Decoded bytes of texts or images that are held at once."""
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}
"""Bytes of one value by its physical type; those of a text are its offset."""


def read_table(path: Path, columns: Sequence[str] | None = None, *, rows: int | None = None) -> pa.Table:
    """Reads a parquet file.

    columns: names; None for all. rows: number that it must have; None for any. ValueError when it is absent or
    damaged, lacks a column, has another number of rows, or when it would not fit into memory.
    """
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        chosen = list(dict.fromkeys(names if columns is None else columns))
        for name in chosen:
            if names.count(name) != 1:
                what = (
                    f"column {name!r} is missing; the file has {names}" if name not in names else f"has {name!r} twice"
                )
                raise ValueError(f"{path}: {what}")
        if rows is not None and file.metadata.num_rows != rows:
            raise ValueError(
                f"{path}: has {file.metadata.num_rows} rows, meta/episodes counts {rows}; restore the file"
            )
        free, total, batches = psutil.virtual_memory().available, 0, []
        if _decoded_bytes(file, chosen) > free:
            raise _too_large(path)
        for batch in file.iter_batches(batch_rows(file, chosen), columns=chosen):
            batch.validate(full=True)  # texts are UTF-8, lists lie within their values
            batches.append(batch)
            total += batch.nbytes
            if total > free:
                raise _too_large(path)
        schema = pa.schema([file.schema_arrow.field(name) for name in chosen])
        return pa.Table.from_batches(batches, schema if not batches else None).select(chosen)


def count_rows(path: Path) -> int:
    """The number of rows as the file's own description has it. ValueError when it is absent or damaged."""
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)


def read_schema(path: Path) -> pa.Schema:
    """The columns of a parquet file. ValueError when it is absent or damaged."""
    with open_parquet(path) as file:
        return file.schema_arrow


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts, in any form that other programs store them in."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def visible(path: Path) -> bool:
    """False for what programs leave beside the files of others: `._file-000.parquet`, `.ipynb_checkpoints`."""
    return not any(part.startswith(".") for part in path.parts)


def typed(table: pa.Table, name: str, kind: pa.DataType, path: Path, *, nulls: bool = False) -> pa.ChunkedArray:
    """A column as another type that holds the same values, e.g. whole numbers that were stored as floats.

    path: file of the table. nulls: whether rows may be without a value. ValueError names the column that does not fit.
    """
    column = table[name]
    try:
        column = column.cast(kind)
    except pa.ArrowException as error:
        raise ValueError(
            f"{path}: column {name!r} is {column.type}, it must be {kind} ({one_line(error)}); restore the file"
        ) from error
    inner = sum(chunk.flatten().null_count for chunk in column.chunks) if pa.types.is_list(kind) else 0
    if inner or (column.null_count and not nulls):
        raise ValueError(f"{path}: column {name!r} has a row without a value; restore the file")
    return column


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Context with a parquet file. ValueError when it is absent or damaged."""
    if not path.is_file():
        raise ValueError(f"{path}: file is missing; restore it or collect the dataset again")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError, NotImplementedError) as error:
        raise damaged(path, "parquet", error, HINT) from error


def _chunks(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pq.ColumnChunkMetaData]:
    """The parts of these columns in every row group; a struct or list has several."""
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for index in range(group.num_columns):
            path = f"{group.column(index).path_in_schema}."
            if any(path.startswith(f"{name}.") for name in columns):
                yield group.column(index)


def _decoded_bytes(file: pq.ParquetFile, columns: Sequence[str]) -> int:
    """The least memory that the columns take, as the file's own description has it."""
    return sum(
        max(chunk.total_uncompressed_size, chunk.num_values * _WIDTHS.get(chunk.physical_type, 1))
        for chunk in _chunks(file, columns)
    )


def batch_rows(file: pq.ParquetFile, columns: Sequence[str]) -> int:
    """Number of rows to decode at once. A text that is stored once for many rows is as long in each of them."""
    longest = [c.total_uncompressed_size for c in _chunks(file, columns) if c.physical_type.endswith("BYTE_ARRAY")]
    return max(1, min(65536, _BATCH_BYTES // max(1, *longest, 1)))


def _too_large(path: Path) -> ValueError:
    return ValueError(f"{path}: does not fit into memory when it is decoded; restore the file, or free memory")
