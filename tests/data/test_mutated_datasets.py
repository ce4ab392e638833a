"""Every field of a small dataset's description with every wrong value: it is read, or refused in one line."""

from __future__ import annotations

import copy
import datetime
import decimal
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_reader import DATA, EPISODES
from toy_robot import robot

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.validation.dataset import check

NAN = float("nan")
DEEP: list[Any] = []
for _ in range(60):
    DEEP = [DEEP]
VALUES = [
    None,
    NAN,
    -1,
    0,
    1.5,
    1e300,
    10**30,
    "",
    "x",
    [],
    {},
    True,
    [None],
    {"a": 1},
    DEEP,
    "x" * 10**5,
    "\0",
    "a\nb",
]
JSON_FILES = ["meta/info.json", "meta/wla_robot.json"]
COLUMN_VALUES = [
    *(None, NAN, -1, 0, 1.5, 1e300, 2**62, "", "x", "x" * 10**5, True, [], [None], ["x"], [NAN], {"a": 1}, b"\xff"),
    *(decimal.Decimal("1.5"), datetime.date(2020, 1, 1), datetime.timedelta(1), datetime.datetime(2020, 1, 1), [[1.0]]),
]
TABLES = [EPISODES, "meta/tasks.parquet", DATA]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


def require_clear(root: Path, call: Callable[[], object]) -> None:
    message = str(root)
    try:
        call()
    except ValueError as error:
        message = str(error)
    assert message.isprintable(), message[:300]
    assert len(message) < 1500
    assert str(root) in message


def use(root: Path, *, thorough: bool) -> None:
    require_clear(root, lambda: LeRobotDataset(root).frames("front"))
    if thorough:
        require_clear(root, lambda: DatasetWriter(root, robot()))
        require_clear(root, lambda: check(root))


def mutate_json(root: Path, name: str, step: int) -> None:
    original = (root / name).read_text()
    tree = json.loads(original)
    cases = list(itertools.product(places(tree), VALUES))
    for number, (path, value) in enumerate(cases):
        if (number + number // len(VALUES)) % step:
            continue
        (root / name).write_text(json.dumps(replaced(tree, path, value)))
        try:
            use(root, thorough=step == 1)
        except Exception as error:
            raise AssertionError(f"{name} with {path} = {value!r:.80}") from error
    (root / name).write_text(original)


def mutate_table(root: Path, name: str, step: int) -> None:
    original = (root / name).read_bytes()
    table = pq.read_table(root / name)
    for number, (column, value) in enumerate(itertools.product(table.column_names, COLUMN_VALUES)):
        if (number + number // len(COLUMN_VALUES)) % step:
            continue
        if step > 1 and column.startswith("stats/"):
            continue
        for rows in ([value] * len(table), [*table[column].to_pylist()[:-1], value]):
            try:
                changed = table.set_column(table.column_names.index(column), column, [pa.array(rows)])
                pq.write_table(changed, root / name)
            except (pa.ArrowException, TypeError, OverflowError, ValueError):
                continue  # a parquet file cannot hold it
            try:
                use(root, thorough=step == 1)
            except Exception as error:
                raise AssertionError(f"{name} with {column} = {value!r:.80}") from error
    (root / name).write_bytes(original)


@pytest.fixture
def small(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "d"))


@pytest.mark.parametrize("name", JSON_FILES)
def test_some_fields_with_some_values(small, name):
    mutate_json(small, name, step=17)


@pytest.mark.parametrize("name", TABLES)
def test_some_columns_with_some_values(small, name):
    mutate_table(small, name, step=29 if name == EPISODES else 11)


@pytest.mark.slow
@pytest.mark.parametrize("name", JSON_FILES)
def test_all_fields_with_all_values(small, name):
    mutate_json(small, name, step=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_all_columns_with_all_values(small, name):
    mutate_table(small, name, step=1)
