"""Numbered texts: the instructions of `meta/tasks.parquet` and the subtasks of `meta/subtasks.parquet`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from wla.data.lerobot.format import SUBTASKS, TASKS
from wla.data.lerobot.tables import is_text, read_schema, read_table, typed
from wla.data.lerobot.v21 import TASKS as TASK_LINES
from wla.data.lerobot.v21 import read_task_lines
from wla.foreign import one_line, path_below, shown


def read_tasks(root: Path) -> list[str]:
    """Instructions in the order of their task_index. ValueError when they are absent, or not numbered from 0."""
    if not (root / TASKS).exists() and (root / TASK_LINES).is_file():
        return [line["task"] for line in read_task_lines(root)]
    return _read(root, TASKS, "task_index", "task")


def read_subtasks(root: Path) -> list[str]:
    """Subtasks of another program in the order of their subtask_index. ValueError as for `read_tasks`."""
    return _read(root, SUBTASKS, "subtask_index", "subtask")


def tasks_table(instructions: Sequence[str]) -> pa.Table:
    """The table of `meta/tasks.parquet`; LeRobot reads it with pandas and expects the instruction as the index."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
        for name, kind, numpy_type in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    arrays = {"task_index": pa.array(range(len(instructions)), pa.int64()), "task": pa.array(instructions, pa.string())}
    return pa.table(arrays).replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def _read(root: Path, name: str, number: str, text: str) -> list[str]:
    path = path_below(root, name, root)
    schema = read_schema(path)
    column = _text_column(schema, text)
    if number not in schema.names or column is None:
        raise ValueError(f"{path}: needs the columns {text!r} and {number!r}; it has {one_line(schema.names)}")
    table = read_table(path, [number, column])
    numbers = typed(table, number, pa.int64(), path).to_pylist()
    texts: dict[int, str] = {}
    for index, value in zip(numbers, typed(table, column, pa.string(), path).to_pylist(), strict=True):
        if texts.setdefault(index, value) != value:
            raise ValueError(
                f"{path}: {number} {index} has two texts, {shown(texts[index])} and {shown(value)}; remove one of them"
            )
    if sorted(texts) != list(range(len(texts))):
        raise ValueError(f"{path}: {number} must count from 0 without gaps, it is {sorted(texts)[:8]}; correct it")
    return [texts[index] for index in range(len(texts))]


def _text_column(schema: pa.Schema, name: str) -> str | None:
    """The column of the texts: the one of that name, or else the index that pandas stored, or else the only text."""
    if name in schema.names:
        return name
    candidates = [field.name for field in schema if is_text(field.type)]
    index = [each for each in (*_pandas_index(schema), "__index_level_0__") if each in candidates]
    chosen = [*index, *(candidates if len(candidates) == 1 else ())]
    return chosen[0] if chosen else None


def _pandas_index(schema: pa.Schema) -> list[str]:
    try:
        names = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
        return [each for each in names if isinstance(each, str)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
