"""The columns of the data files that are used, over all files of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from wla.data.lerobot.columns import TYPES, Columns
from wla.data.lerobot.episode_table import ROBOT_TYPE
from wla.data.lerobot.format import EPISODE_COLUMNS, INDEX_COLUMNS, INTERVENTION, REWARD, SUBTASK, DatasetInfo
from wla.data.lerobot.tables import read_schema, read_table, typed
from wla.data.lerobot.vectors import width
from wla.data.video.frame_files import FileSegment, by_file
from wla.foreign import one_line

SUBTASK_COLUMNS = (SUBTASK, "subtask_index", "subtask")


def read_columns(root: Path, info: DatasetInfo, names: Columns, segments: Sequence[FileSegment]) -> pa.Table:
    """The columns of these rows that are used, in the order of the dataset. ValueError when one of state or action is
    absent, when one has another type than is read, and when files disagree."""
    needed = [*names.state, *names.action]
    optional = [*INDEX_COLUMNS, *(name for name in (*SUBTASK_COLUMNS, *EPISODE_COLUMNS) if name in info.features)]
    optional += [mark for mark in (REWARD, INTERVENTION) if mark in info.features and width(info.features[mark]) == 1]
    if ROBOT_TYPE in info.features and info.features[ROBOT_TYPE].dtype == "string":
        optional.append(ROBOT_TYPE)
    parts: list[tuple[int, pa.Table]] = []
    for path, own in by_file(segments).items():
        present = read_schema(path).names
        table = read_table(path, [*needed, *(name for name in optional if name in present)])
        for name in TYPES.keys() & set(table.column_names):
            column = typed(table, name, TYPES[name], path, nulls=name not in (*INDEX_COLUMNS, *EPISODE_COLUMNS))
            table = table.set_column(table.column_names.index(name), name, column)
        parts += [(part.start, table.slice(part.first, part.length)) for part in own]
    tables = [table for _, table in sorted(parts, key=lambda part: part[0])]
    common = [name for name in tables[0].column_names if all(name in table.column_names for table in tables)]
    try:
        return pa.concat_tables([_as_lists(table.select(common)) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise ValueError(
            f"{root / 'data'}: columns of its files have different types ({one_line(error)}); restore them"
        ) from error


def _as_lists(table: pa.Table) -> pa.Table:
    """The table with lists of any length instead of fixed ones, whose lengths may differ between files."""
    for index, field in enumerate(table.schema):
        if pa.types.is_fixed_size_list(field.type):
            table = table.set_column(index, field.name, table[field.name].cast(pa.list_(field.type.value_type)))
    return table
