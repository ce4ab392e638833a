"""Robots of a dataset: one, unless its episodes, tasks or frames name several, or have rows of several widths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from wla.data.lerobot.episode_table import ROBOT_TYPE
from wla.data.lerobot.format import TASKS
from wla.data.lerobot.tables import is_text, read_schema, read_table, typed
from wla.data.lerobot.v21 import read_task_lines
from wla.foreign import path_below, shown

FIX = "split the dataset into one for each, or correct what is wrong"


def task_robots(root: Path) -> dict[int, object]:
    """Number of a task -> its robot, or something else where none is named; empty where the tasks name none."""
    path = path_below(root, TASKS, root)
    if not path.exists():  # of v2.0 or v2.1
        return {line["task_index"]: line.get(ROBOT_TYPE) for line in read_task_lines(root)}
    schema = read_schema(path)
    if ROBOT_TYPE not in schema.names or not is_text(schema.field(ROBOT_TYPE).type):
        return {}
    table = read_table(path, ["task_index", ROBOT_TYPE])
    numbers = typed(table, "task_index", pa.int64(), path).to_pylist()
    return dict(zip(numbers, typed(table, ROBOT_TYPE, pa.string(), path, nulls=True).to_pylist(), strict=True))


def first_episodes(named: Iterable[tuple[object, int]]) -> dict[str, int]:
    """Robot -> its first episode. named: a robot, or something else where none is named, and its episode."""
    found: dict[str, int] = {}
    for robot, episode in named:
        if isinstance(robot, str) and robot.strip():
            found[robot.strip()] = min(episode, found.get(robot.strip(), episode))
    return found


def several_robots(robots: Mapping[str, int]) -> str | None:
    """A message without its end, the fix, about episodes of several robots; None for one or none."""
    if len(robots) < 2:
        return None
    parts = (f"{shown(robot)} (first in episode {episode})" for robot, episode in list(robots.items())[:4])
    return f"its episodes are of {len(robots)} robots: {', '.join(parts)}"


def row_width(column: pa.ChunkedArray) -> int | None:
    """The numbers of every row; None where they differ, or are not in one list."""
    widths = row_widths(column)
    return None if widths is None else common_width(widths)


def common_width(widths: Int64[np.ndarray, " N"]) -> int | None:
    """The width of all rows; None where they differ, or have none."""
    return int(widths[0]) if len(widths) and widths[0] >= 0 and (widths == widths[0]).all() else None


def row_widths(column: pa.ChunkedArray) -> Int64[np.ndarray, " N"] | None:
    """The numbers of each row, -1 for one without; None where they are not in a list."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return None
    return pc.fill_null(pc.list_value_length(column), -1).to_numpy().astype(np.int64)


def several_widths(name: str, widths: Mapping[int, int | None]) -> str | None:
    """A message without its end, the fix, about a column of several widths, each of them that of whole episodes.

    widths: of the rows of each episode, None where they differ. None for a single width, and for damaged rows.
    """
    first: dict[int | None, int] = {}
    for episode, width in widths.items():
        first.setdefault(width, episode)
    if None in first or len(first) < 2:
        return None
    parts = (f"{width} numbers (first in episode {episode})" for width, episode in first.items())
    return f"{name!r} has {', '.join(parts)}, as of different robots"
