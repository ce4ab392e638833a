"""Tables of other programs: what LeRobot reads is read, with equal values, and only what is used is checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_datasets import image, psnr
from test_reader import DATA, EPISODES, drop_column, edit_info, edit_table, set_cell

from wla.data.lerobot.format import EPISODE_COLUMNS
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.text_table import read_tasks
from wla.data.validation.dataset import check
from wla.data.validation.issues import Issue

FRONT = "observation.images.front"
TASKS = "meta/tasks.parquet"


@pytest.fixture
def foreign(root: Path) -> Path:
    """A dataset without our robot file and columns."""
    (root / "meta/wla_robot.json").unlink()
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, lambda table: table.drop_columns(list(EPISODE_COLUMNS)))
    edit_info(root, lambda info: [info["features"].pop(name) for name in EPISODE_COLUMNS])
    return root


def set_column(table: pa.Table, name: str, cells: list) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, table.field(at), pa.array(cells, table.field(at).type))


def errors(root: Path) -> list[Issue]:
    return [issue for issue in check(root) if issue.severity == "error"]


def every_frame(root: Path) -> np.ndarray:
    """All frames of the front camera, without a cache in a folder that others copy."""
    return LeRobotDataset(root).random_access_frames("front")[np.arange(30)]


def assert_same(root: Path, pristine: Path, *, frames: bool = True) -> LeRobotDataset:
    """The dataset is read as it was before its tables were changed."""
    dataset, before = LeRobotDataset(root), LeRobotDataset(pristine)
    np.testing.assert_array_equal(dataset.state, before.state)
    np.testing.assert_array_equal(dataset.actions, before.actions)
    np.testing.assert_array_equal(dataset.task_index, before.task_index)
    assert [(e.start, e.end, e.instruction) for e in dataset.episodes] == [
        (e.start, e.end, e.instruction) for e in before.episodes
    ]
    if frames:
        np.testing.assert_array_equal(dataset.frames("front"), every_frame(pristine))
    assert errors(root) == []
    return dataset


@pytest.mark.parametrize("name", ["frame_index", "timestamp", "index", "episode_index", "task_index"])
def test_columns_that_follow_from_others_may_be_absent(name, foreign, pristine):
    for path in foreign.glob("data/*/*.parquet"):
        edit_table(path, drop_column(name))
    edit_info(foreign, lambda info: info["features"].pop(name))
    assert_same(foreign, pristine)


@pytest.mark.parametrize(
    "names", [["tasks"], ["dataset_from_index", "dataset_to_index"], ["data/chunk_index", "data/file_index"]]
)
def test_columns_of_episodes_that_follow_from_others_may_be_absent(names, foreign, pristine):
    for path in foreign.glob("meta/episodes/*/*.parquet"):
        edit_table(path, lambda table: table.drop_columns(names))
    assert_same(foreign, pristine)


def test_whole_numbers_may_be_stored_as_floats(foreign, pristine):
    def floats(table: pa.Table) -> pa.Table:
        for number, field in enumerate(table.schema):
            if pa.types.is_integer(field.type) and not field.name.startswith("stats/"):
                table = table.set_column(number, field.name, table[field.name].cast(pa.float64()))
        return table

    for path in [*foreign.glob("data/*/*.parquet"), *foreign.glob("meta/episodes/*/*.parquet"), foreign / TASKS]:
        edit_table(path, floats)
    assert_same(foreign, pristine)


@pytest.mark.parametrize("index", [0, 7])
def test_stale_numbers_of_data_files_do_not_matter(index, foreign, pristine):
    for path in foreign.glob("meta/episodes/*/*.parquet"):
        edit_table(path, lambda table: set_column(table, "data/file_index", [index] * len(table)))
    assert_same(foreign, pristine)


def test_an_episode_may_lie_in_two_files(foreign, pristine):
    table = pq.read_table(foreign / DATA)
    pq.write_table(table.slice(0, 13), foreign / DATA)
    pq.write_table(table.slice(13), foreign / "data/chunk-000/file-000b.parquet")
    for path in foreign.glob("meta/episodes/*/*.parquet"):
        edit_table(path, lambda t: t.drop_columns(["data/chunk_index", "data/file_index"]))
    assert_same(foreign, pristine)


def test_episodes_may_be_trimmed_by_their_rows_alone(foreign, pristine):
    """The first three frames of episode 1 are gone from the tables, and the video is as it was."""
    keep = [*range(10), *range(13, 20)]
    edit_table(foreign / DATA, lambda table: table.take(keep))
    edit_table(foreign / DATA, lambda table: set_column(table, "index", list(range(17))))
    edit_table(foreign / EPISODES, lambda t: set_column(set_column(t, "length", [10, 7]), "dataset_to_index", [10, 17]))
    second = foreign / EPISODES.replace("file-000", "file-001")
    edit_table(second, lambda t: set_column(set_column(t, "dataset_from_index", [17]), "dataset_to_index", [27]))
    edit_info(foreign, lambda info: info.update(total_frames=27))
    dataset = LeRobotDataset(foreign)
    kept = [*keep, *range(20, 30)]
    np.testing.assert_array_equal(dataset.frames("front"), every_frame(pristine)[kept])
    np.testing.assert_array_equal(dataset.random_access_frames("front")[np.array([10])], dataset.frames("front")[[10]])
    assert psnr(dataset.frames("front")[10], image(1, 3)) > 30
    assert errors(foreign) == []


@pytest.mark.parametrize("damage", ["shape", "file", "columns", "times"])
def test_a_camera_that_is_not_used_need_not_be_readable(damage, foreign, pristine):
    if damage == "shape":
        edit_info(foreign, lambda info: info["features"]["observation.images.wrist"].update(shape=[32, 48, 1]))
    elif damage == "file":
        shutil.rmtree(foreign / "videos/observation.images.wrist")
    for path in foreign.glob("meta/episodes/*/*.parquet"):
        names = [name for name in pq.read_schema(path).names if "wrist" in name]
        if damage == "columns":
            edit_table(path, lambda table, names=names: table.drop_columns(names))
        elif damage == "times":
            edit_table(path, lambda t: set_column(t, "videos/observation.images.wrist/from_timestamp", [None] * len(t)))
    dataset = LeRobotDataset(foreign)
    np.testing.assert_array_equal(dataset.frames("front"), every_frame(pristine))
    with pytest.raises(ValueError, match="wrist") as caught:
        dataset.frames("wrist")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("feature", [None, 3, {"dtype": None, "shape": None}, {"dtype": "float32", "shape": [None]}])
def test_features_that_are_not_used_need_not_be_features(feature, foreign, pristine):
    edit_info(foreign, lambda info: info["features"].update(tactile=feature))
    edit_info(foreign, lambda info: info.update(chunks_size=None, total_frames=30, splits=3))
    assert assert_same(foreign, pristine).info.model_dump(mode="json")["features"]["tactile"] == feature


KINDS = {
    "large": pa.large_string(),
    "view": pa.string_view(),
    "category": pa.dictionary(pa.int32(), pa.string()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_read_in_any_form(kind, foreign, pristine):
    edit_table(foreign / TASKS, lambda t: t.set_column(1, "task", t["task"].cast(KINDS[kind])))
    for path in foreign.glob("data/*/*.parquet"):
        at = pq.read_schema(path).names.index("subtask_text")
        edit_table(path, lambda t, at=at: t.set_column(at, "subtask_text", t["subtask_text"].cast(KINDS[kind])))
    assert assert_same(foreign, pristine).subtask_texts == LeRobotDataset(pristine).subtask_texts


@pytest.mark.parametrize(
    "tasks",
    [
        lambda column: pa.array([row[0] for row in column.to_pylist()]),
        lambda column: column.cast(pa.large_list(pa.large_string())),
        lambda column: pa.array(range(len(column))),
        lambda column: pa.array([None] * len(column), pa.list_(pa.string())),
    ],
)
def test_the_instruction_is_that_of_the_frames(tasks, foreign, pristine):
    for path in foreign.glob("meta/episodes/*/*.parquet"):
        at = pq.read_schema(path).names.index("tasks")
        edit_table(path, lambda table, at=at: table.set_column(at, "tasks", tasks(table["tasks"])))
    assert_same(foreign, pristine, frames=False)


def test_without_tasks_of_frames_an_episode_of_two_tasks_is_refused(foreign):
    for path in foreign.glob("data/*/*.parquet"):
        edit_table(path, drop_column("task_index"))
    edit_table(foreign / EPISODES, set_cell("tasks", 1, ["do task 0", "do task 1"]))
    with pytest.raises(ValueError, match=r"episode 1 has no task: its frames have no task_index, and meta/episodes"):
        LeRobotDataset(foreign)


@pytest.mark.parametrize("name", ["task", "__index_level_0__", "instruction"])
def test_another_column_of_texts_is_not_taken_for_the_instruction(name, foreign):
    table = pq.read_table(foreign / TASKS).replace_schema_metadata(None)
    table = pa.table({"scene": pa.array(["kitchen", "hall"]), "task_index": table["task_index"], name: table["task"]})
    if name == "instruction":  # which of the two it is, only the index of pandas says
        table = table.replace_schema_metadata({b"pandas": b'{"index_columns": ["instruction"]}'})
    pq.write_table(table, foreign / TASKS)
    assert read_tasks(foreign) == ["do task 0", "do task 1"]
    if name == "instruction":
        pq.write_table(table.replace_schema_metadata(None), foreign / TASKS)
        with pytest.raises(ValueError, match="needs the columns 'task' and 'task_index'; it has"):
            read_tasks(foreign)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (["seed"], [100_000, 100_001]),
        (["success"], ["false", "true"]),
        (["success"], [float("nan"), 0.0]),
        (["seed", "success", "action_executed"], ["a", "b"]),
        (["followed"], [1, 2]),
    ],
)
def test_columns_of_others_are_not_ours(names, values, foreign, pristine):
    def change(table: pa.Table) -> pa.Table:
        table = table.drop_columns(
            [name for name in ("seed", "success", "action_executed") if name in table.column_names]
        )
        for name in names:
            table = table.append_column(name, pa.array(values[: len(table)]))
        return table

    for path in foreign.glob("meta/episodes/*/*.parquet"):
        edit_table(path, change)
    for episode in assert_same(foreign, pristine, frames=False).episodes:
        assert (episode.seed, episode.success, episode.action_executed) == (None, None, None)


def test_episodes_that_are_not_counted_are_reported(foreign, capsys):
    edit_info(foreign, lambda info: info.update(total_episodes=2, total_frames=20))
    dataset = LeRobotDataset(foreign)
    assert len(dataset) == 20
    line = "meta/episodes describes 1 more episodes than the 2 that meta/info.json counts, with 10 frames; they are not"
    assert dataset.notes[0].startswith(line)
    assert [issue.message.startswith(line) for issue in errors(foreign)] == [True]


@pytest.mark.parametrize("name", ["._file-000.parquet", ".ipynb_checkpoints/file-000-checkpoint.parquet"])
def test_hidden_files_are_not_read(name, foreign, pristine):
    for folder in (foreign / EPISODES, foreign / DATA):
        hidden = (
            folder.parent.with_name(name.split("/")[0]) / name.split("/")[1] if "/" in name else folder.parent / name
        )
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(b"Mac OS X")
    assert_same(foreign, pristine)


def numbered(root: Path, numbers: list[int], texts: list[str] | None) -> None:
    """Subtasks as LeRobot's annotation tools store them."""
    at = 0
    for path in sorted(root.glob("data/*/*.parquet")):
        table = pq.read_table(path).drop_columns(["subtask_text"])
        own, at = numbers[at : at + len(table)], at + len(table)
        pq.write_table(table.append_column("subtask_index", pa.array(own, pa.int64())), path)

    def features(info: dict) -> None:
        info["features"].pop("subtask_text")
        info["features"]["subtask_index"] = {"dtype": "int64", "shape": [1], "names": None}

    edit_info(root, features)
    if texts is not None:
        pq.write_table(pa.table({"subtask_index": range(len(texts)), "subtask": texts}), root / "meta/subtasks.parquet")


def test_numbered_subtasks_of_others_are_read_and_announced(foreign):
    numbered(foreign, [-1, *[0] * 14, *[1] * 15], ["reach", "lift"])
    dataset = LeRobotDataset(foreign)
    assert dataset.subtask_texts == ("lift", "reach")
    assert dataset.subtasks.tolist() == [-1, *[1] * 14, *[0] * 15]
    assert dataset.subtask_source == "subtask_index"
    assert dataset.notes == ["its 2 subtasks are those of the column 'subtask_index'"]
    assert [issue.message for issue in check(foreign) if issue.severity == "note"] == dataset.notes


def test_numbers_without_a_table_of_subtasks_are_not_subtasks(foreign):
    numbered(foreign, [0] * 30, None)
    assert LeRobotDataset(foreign).subtasks is None


def test_a_number_without_a_subtask_is_refused(foreign):
    numbered(foreign, [2] * 30, ["reach", "lift"])
    with pytest.raises(
        ValueError, match=r"meta/subtasks.parquet: has 2 texts, frame 0 has subtask_index 2; restore it"
    ):
        LeRobotDataset(foreign)


def test_a_column_of_subtasks_is_read(foreign):
    for path in foreign.glob("data/*/*.parquet"):
        edit_table(path, lambda t: t.rename_columns({"subtask_text": "subtask"}))
    edit_info(foreign, lambda info: info["features"].update(subtask=info["features"].pop("subtask_text")))
    dataset = LeRobotDataset(foreign)
    assert (dataset.subtask_texts, dataset.subtask_source) == (("grasp", "move", "reach"), "subtask")
