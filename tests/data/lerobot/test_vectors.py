"""Vectors: numbers in every form that programs store them in, several columns joined, datasets without a state."""

from __future__ import annotations

import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_datasets import episode_arrays
from test_reader import edit_info, edit_table
from toy_robot import robot

from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.vectors import dimension_names
from wla.data.lerobot.writer import DatasetWriter
from wla.data.normalize import compute_statistics
from wla.data.published_statistics import read_published, write_published
from wla.data.robot_file import robot_of
from wla.data.validation.dataset import check
from wla.data.validation.issues import count_errors

STATE = "observation.state"


def rewrite(root: Path, name: str, make, **feature: object) -> None:
    """Stores a column in another form. make: rows -> column. feature: what `info.json` then has."""
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, lambda t: t.set_column(t.column_names.index(name), name, make(t[name].to_pylist())))
    edit_info(root, lambda info: info["features"][name].update(feature))


def split(root: Path, name: str, parts: dict[str, slice | int]) -> None:
    """Spreads a column over several."""

    def change(table: pa.Table) -> pa.Table:
        values = np.array(table[name].to_pylist(), np.float32)
        for part, dims in parts.items():
            table = table.append_column(part, pa.array(values[:, dims].tolist()))
        return table.drop_columns([name])

    for path in root.glob("data/*/*.parquet"):
        edit_table(path, change)

    def features(info: dict) -> None:
        info["features"].pop(name)
        for part, dims in parts.items():
            count = 1 if isinstance(dims, int) else len(range(3)[dims])
            info["features"][part] = {"dtype": "float32", "shape": [] if isinstance(dims, int) else [count]}

    edit_info(root, features)
    (root / "meta/wla_robot.json").unlink(missing_ok=True)


FORMS = {
    "large list": lambda rows: pa.array(rows, pa.large_list(pa.float32())),
    "list view": lambda rows: pa.array(rows, pa.list_view(pa.float32())),
    "float64": lambda rows: pa.array(rows, pa.list_(pa.float64())),
    "float16": lambda rows: pa.array(list(np.array(rows, np.float16)), pa.list_(pa.float16())),
    "categories": lambda rows: pa.ListArray.from_arrays(
        np.arange(0, 3 * len(rows) + 1, 3), pa.array(np.array(rows).ravel()).dictionary_encode()
    ),
    "nested": lambda rows: pa.array([[row] for row in rows], pa.list_(pa.list_(pa.float32()))),
    "columns of one": lambda rows: pa.array([[[x] for x in row] for row in rows], pa.list_(pa.list_(pa.float32(), 1))),
}


@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_read_in_any_form(form, root, pristine):
    shape = {"nested": [1, 3], "columns of one": [3, 1]}.get(form, [3])
    rewrite(root, STATE, FORMS[form], shape=shape)
    np.testing.assert_allclose(LeRobotDataset(root).state, LeRobotDataset(pristine).state, rtol=1e-3)
    assert count_errors(check(root)) == 0


def nested(numbers: np.ndarray) -> pa.Array:
    kind = pa.float32()
    for _ in numbers.shape[1:]:
        kind = pa.list_(kind)
    return pa.array(numbers.tolist(), kind)


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (2, 3), (1, 2, 3), (6,)])
def test_numbers_of_several_axes_are_those_that_lerobot_reads_in_its_order(shape, root):
    """LeRobot hands out arrays of the stated shape; a policy reads their numbers with the last axis running first."""
    written = np.random.default_rng(0).normal(size=(30, *shape)).astype(np.float32)
    for path, rows in zip(sorted(root.glob("data/*/*.parquet")), (slice(0, 20), slice(20, 30)), strict=True):
        edit_table(path, lambda t, rows=rows: t.set_column(t.column_names.index(STATE), STATE, nested(written[rows])))
    edit_info(root, lambda info: info["features"][STATE].update(shape=shape, names=None))
    (root / "meta/wla_robot.json").unlink()
    np.testing.assert_array_equal(LeRobotDataset(root).state, written.reshape(30, -1))
    assert count_errors(check(root)) == 0
    edit_info(root, lambda info: info["features"][STATE].update(shape=[3, 2]))
    if sum(size > 1 for size in shape) > 1:  # the axes would be other ones
        with pytest.raises(ValueError, match=r"'observation.state' does not have \(3, 2\) numbers in every frame"):
            LeRobotDataset(root)
        assert "does not have 3 x 2 numbers" in check(root)[0].message


class ArrayInArray(pa.ExtensionType):
    """A type as the library `datasets` registers it when it is imported, which LeRobot does."""

    def __init__(self) -> None:
        super().__init__(pa.list_(pa.list_(pa.float32())), "test.array_in_array")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, data: bytes) -> ArrayInArray:
        return cls()


def test_numbers_of_a_type_that_another_library_registered_are_read(root, pristine):
    rewrite(
        root, STATE, lambda rows: pa.ExtensionArray.from_storage(ArrayInArray(), FORMS["nested"](rows)), shape=[1, 3]
    )
    pa.register_extension_type(ArrayInArray())
    try:
        np.testing.assert_array_equal(LeRobotDataset(root).state, LeRobotDataset(pristine).state)
    finally:
        pa.unregister_extension_type("test.array_in_array")


@pytest.mark.parametrize(
    ("value", "kind"), [(7, pa.int32()), (True, pa.bool_()), (decimal.Decimal("1.5"), pa.decimal128(5, 2))]
)
def test_numbers_of_other_types_are_read(value, kind, root):
    rewrite(root, "action", lambda rows: pa.array([[value] * 2] * len(rows), pa.list_(kind)))
    assert (LeRobotDataset(root).actions == np.float32(value)).all()


@pytest.mark.parametrize(
    "lengths", [{4: 2, 9: 4}, {4: 2}, {4: 0, 9: 6}, {4: None, 9: 6}, {0: 4, 19: 2}], ids=str
)  # the same total in all but one
@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_each_row_must_have_its_numbers(lengths, kind, root):
    def make(rows):
        rows = [(row * 2)[:length] if (length := lengths.get(i, 3)) is not None else None for i, row in enumerate(rows)]
        return pa.array(rows, kind(pa.float32()))

    rewrite(root, STATE, make)
    with pytest.raises(ValueError, match=rf"'{STATE}' does not have \(3,\) numbers in every frame"):
        LeRobotDataset(root)
    assert count_errors(check(root)) >= 1


def test_columns_are_joined_in_order(root, pristine):
    original = LeRobotDataset(pristine)
    split(root, STATE, {"joints": slice(0, 2), "gripper": 2})
    split(root, "action", {"arm": 0, "hand": slice(1, 2)})
    columns = Columns(state=("gripper", "joints"), action=("arm", "hand"))
    dataset = LeRobotDataset(root, columns=columns)
    np.testing.assert_array_equal(dataset.state, original.state[:, [2, 0, 1]])
    np.testing.assert_array_equal(dataset.actions, original.actions)
    assert dataset.state_names == ("gripper.0", "joints.0", "joints.1")
    assert dataset.action_names == ("arm", "hand")
    assert robot_of(dataset, kinds=["delta"]).observation.state_names == dataset.state_names
    assert count_errors(check(root, columns)) == 0
    swapped = robot(state_dim=2)
    with pytest.raises(ValueError, match=r"'gripper \+ joints' has shape \(3,\) and the given robot 'toy' has \(2,\)"):
        LeRobotDataset(root, columns=columns, robot=swapped)


def test_dimensions_of_joined_columns_have_distinct_names(root):
    split(root, STATE, {"left": slice(0, 2), "right": 2})
    edit_info(root, lambda info: info["features"]["left"].update(names=["x", "y"]))
    assert LeRobotDataset(root, columns=Columns(state=("left", "right"))).state_names == ("x", "y", "right")
    edit_info(root, lambda info: info["features"]["right"].update(names=["y"]))
    names = LeRobotDataset(root, columns=Columns(state=("left", "right"))).state_names
    assert names == ("left.x", "left.y", "right.y")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ([["a", "b"]], ["a", "b"]),
        ({"motors": ["a", "b"]}, ["a", "b"]),
        ({"b": 1, "a": 0}, ["a", "b"]),
        ({"left": "a", "right": "b"}, ["a", "b"]),
        (["a"], ["0", "1"]),
        (None, ["0", "1"]),
    ],
)
def test_names_of_dimensions_are_read_in_any_form(names, expected):
    assert dimension_names(names, 2) == expected


@pytest.mark.parametrize("value", [(), [], "none", ["none"]])
def test_no_column_can_be_named(value, root):
    (root / "meta/wla_robot.json").unlink()
    dataset = LeRobotDataset(root, columns=Columns(state=value, action=value))
    assert (dataset.state.shape, dataset.actions) == ((30, 0), None)


def test_a_column_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match="state: a column is named twice in"):
        Columns(state=("a", "a"))


def test_a_dataset_without_anything_like_a_state_is_stateless(root, tmp_path):
    split(root, STATE, {})
    dataset = LeRobotDataset(root)
    assert (dataset.state.shape, dataset.columns.state, dataset.state_names) == ((30, 0), (), ())
    assert count_errors(check(root)) == 0
    spec = robot_of(dataset, kinds=["delta"])
    assert spec.observation.state_dim == 0
    assert LeRobotDataset(root, robot=spec).robot_spec == spec
    statistics = compute_statistics([dataset])
    assert statistics.state.dim == 0
    write_published(tmp_path / "stats.json", {"d": statistics})
    assert read_published(tmp_path / "stats.json", "d", state_dim=0).state.dim == 0
    with pytest.raises(ValueError, match=r"'state' has shape \(0,\) and the given robot 'toy' has \(3,\)"):
        LeRobotDataset(root, robot=robot())


def test_a_robot_without_a_state_is_recorded(tmp_path):
    spec = robot(state_dim=0)
    with DatasetWriter(tmp_path / "d", spec) as writer:
        _, actions = episode_arrays(0, 6, spec)
        for action in actions:
            images = {camera: np.zeros((*size, 3), np.uint8) for camera, size in spec.observation.cameras.items()}
            writer.add_frame(images, np.zeros(0, np.float32), action)
        writer.end_episode("wait", keep=True)
    dataset = LeRobotDataset(tmp_path / "d")
    assert dataset.state.shape == (6, 0)
    assert STATE not in dataset.info.features
    DatasetWriter(tmp_path / "d", spec).close()  # it can be continued
