"""Relabelling replaces the subtasks of all frames or of none, in our own column and in LeRobot's."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from full_disk import full_disk
from test_reader import DATA, edit_info, edit_table
from toy_robot import robot

from wla import files
from wla.data.lerobot import relabel as relabel_module
from wla.data.lerobot.label_backup import undo
from wla.data.lerobot.language import PERSISTENT
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.relabel import relabel
from wla.data.lerobot.writer import DatasetWriter

TEXTS = [*["Würfel greifen"] * 3, *[""] * 2, *["抓住方块"] * 5, *[""] * 10, *[""] * 4, *["press"] * 6]


def texts(root: Path) -> list[str]:
    dataset = LeRobotDataset(root)
    assert dataset.subtasks is not None
    return [dataset.subtask_texts[index] if index >= 0 else "" for index in dataset.subtasks]


def without_own_column(root: Path) -> None:
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, lambda table: table.drop_columns("subtask_text"))
    edit_info(root, lambda info: info["features"].pop("subtask_text"))


def contents(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_labels_with_gaps_are_read_as_written(root):
    before = LeRobotDataset(root)
    relabel(before, TEXTS)
    after = LeRobotDataset(root)
    assert texts(root) == TEXTS
    assert (after.subtasks[3:5] == -1).all()
    np.testing.assert_array_equal(after.state, before.state)
    np.testing.assert_array_equal(after.actions, before.actions)
    np.testing.assert_array_equal(after.frames("front")[7], before.frames("front")[7])


def test_the_language_columns_alone_hold_the_same_subtasks(root):
    relabel(LeRobotDataset(root), TEXTS, language_columns=True)
    without_own_column(root)
    assert texts(root) == TEXTS


def test_our_own_column_has_priority_unless_it_is_blank(root):
    relabel(LeRobotDataset(root), TEXTS, language_columns=True)
    subtasks = ["", "mine"]

    def other(table: pa.Table) -> pa.Table:
        new = pa.array([subtasks[frame % 2] for frame in range(len(table))])
        return table.set_column(table.column_names.index("subtask_text"), "subtask_text", new)

    for path in root.glob("data/*/*.parquet"):
        edit_table(path, other)
    assert texts(root) == subtasks * 15
    subtasks[1] = " "  # blank in all frames
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, other)
    assert texts(root) == TEXTS


def test_other_rows_of_the_language_columns_are_kept(root):
    plan = {"role": "assistant", "content": "a plan", "style": "plan", "timestamp": 0.3, "camera": None}
    old = plan | {"content": "old", "style": "subtask"}

    def theirs(table: pa.Table) -> pa.Table:
        rows = pa.array([[old, plan]] * len(table))
        events = pa.array([[{"role": "user", "content": "wait", "style": "interjection"}]] * len(table))
        return table.append_column(PERSISTENT, rows).append_column("language_events", events)

    for path in root.glob("data/*/*.parquet"):
        edit_table(path, theirs)
    feature = {"dtype": "language", "shape": [1], "names": None}
    edit_info(root, lambda info: info["features"].update({PERSISTENT: feature, "language_events": feature}))
    relabel(LeRobotDataset(root), TEXTS)
    table = pq.read_table(min(root.glob("data/*/*.parquet")))
    rows = [(row["style"], row["content"]) for row in table[PERSISTENT][0].as_py()]
    assert rows == [("subtask", "Würfel greifen"), ("plan", "a plan"), ("subtask", ""), ("subtask", "抓住方块")]
    assert table["language_events"][4].as_py()[0]["content"] == "wait"


def test_info_declares_the_columns_and_row_groups_stay(root):
    groups = [pq.ParquetFile(path).num_row_groups for path in sorted(root.glob("data/*/*.parquet"))]
    relabel(LeRobotDataset(root), TEXTS, language_columns=True)
    features = json.loads((root / "meta/info.json").read_text("utf-8"))["features"]
    assert features["language_persistent"] == {"dtype": "language", "shape": [1], "names": None}
    assert features["language_events"]["dtype"] == "language"
    assert [pq.ParquetFile(path).num_row_groups for path in sorted(root.glob("data/*/*.parquet"))] == groups
    assert not [path for path in root.rglob("*") if "writing" in path.name or "labels" in path.name]


def test_without_language_columns_none_are_added(root):
    relabel(LeRobotDataset(root), TEXTS)
    assert texts(root) == TEXTS
    features = json.loads((root / "meta/info.json").read_text("utf-8"))["features"]
    assert not [key for key, feature in features.items() if feature["dtype"] == "language"]
    assert PERSISTENT not in pq.read_schema(root / "data/chunk-000/file-000.parquet").names


def test_whatever_else_lies_below_data_is_kept(root):
    others = {"README.md": b"how", "chunk-000/cal.json": b"{}", "chunk-009/file-000.parquet": b"of others"}
    for name, content in others.items():
        (root / "data" / name).parent.mkdir(exist_ok=True)
        (root / "data" / name).write_bytes(content)
    (root / "data/empty").mkdir()
    (root / "data/note").symlink_to("README.md")
    (root / "data/nowhere").symlink_to("../../absent")
    relabel(LeRobotDataset(root), TEXTS)
    assert {name: (root / "data" / name).read_bytes() for name in others} == others
    assert (root / "data/empty").is_dir()
    assert (root / "data/note").readlink() == Path("README.md")
    assert (root / "data/nowhere").readlink() == Path("../../absent")
    undo(root)
    assert {name: (root / "data" / name).read_bytes() for name in others} == others


def test_columns_of_others_keep_values_types_and_notes(root):
    cells = pa.array(["größer"] * 20).dictionary_encode()
    notes = {b"huggingface": b"{}", b"mine": b"kept"}
    edit_table(root / DATA, lambda t: t.append_column("note", cells).replace_schema_metadata(notes))
    before = pq.read_table(root / DATA)
    relabel(LeRobotDataset(root), TEXTS)
    after = pq.read_table(root / DATA)
    for name in set(before.column_names) - {"subtask_text"}:
        assert after[name].type == before[name].type
        assert after[name].equals(before[name])
    assert after.schema.metadata == {b"mine": b"kept"}


@pytest.mark.parametrize("language_columns", [True, False])
def test_undo_restores_every_byte_step_by_step(root, language_columns):
    states = [contents(root)]
    for labels in (TEXTS, TEXTS[::-1]):
        relabel(LeRobotDataset(root), labels, language_columns=language_columns)
        states.append({name: data for name, data in contents(root).items() if ".annotate_undo" not in name})
    assert undo(root) == 1
    assert {name: data for name, data in contents(root).items() if ".annotate_undo" not in name} == states[1]
    assert texts(root) == TEXTS
    assert undo(root) == 0
    assert contents(root) == states[0]
    with pytest.raises(ValueError, match="/d: nothing to undo"):
        undo(root)


@pytest.mark.parametrize("name", ["meta/info.json", DATA])
def test_undo_refuses_to_lose_later_changes(root, name):
    relabel(LeRobotDataset(root), TEXTS)
    if name == DATA:
        edit_table(root / DATA, lambda table: table.append_column("later", pa.array(range(20))))
    else:
        edit_info(root, lambda info: info.update(later=True))
    before = contents(root)
    with pytest.raises(ValueError, match=f"{name}: has changed since it was annotated"):
        undo(root)
    assert contents(root) == before


def test_undo_touches_no_file_outside(root, tmp_path):
    relabel(LeRobotDataset(root), TEXTS)
    (tmp_path / "mine").write_text("mine")
    written = root / ".annotate_undo/0001/written.json"
    for name in ("../mine", str(tmp_path / "mine"), "meta/../../mine", "meta/tasks.parquet"):
        written.write_text(json.dumps({name: ""}))
        with pytest.raises(ValueError, match=r"leads out of its folder|is missing"):
            undo(root)
    assert (tmp_path / "mine").read_text() == "mine"


def test_labels_are_not_written_through_a_linked_folder(root, tmp_path):
    (root / "data/chunk-000").rename(root / "elsewhere")
    (root / "data/chunk-000").symlink_to("../elsewhere")
    before = contents(root)
    with pytest.raises(ValueError, match=r"only, not through links"):
        relabel(LeRobotDataset(root), TEXTS)
    assert contents(root) == before


def test_a_full_disk_changes_nothing(root):
    dataset, before = LeRobotDataset(root), contents(root)
    with full_disk(1000), pytest.raises(ValueError, match=r"cannot write .*nothing was changed, free disk space"):
        relabel(dataset, TEXTS)
    assert contents(root) == before


def test_an_interrupt_while_writing_changes_nothing(root, monkeypatch):
    dataset, before = LeRobotDataset(root), contents(root)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(relabel_module, "subtask_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        relabel(dataset, TEXTS, language_columns=True)
    assert contents(root) == before


@pytest.mark.parametrize("number", [1, 2])
def test_an_interrupt_at_a_rename_leaves_old_or_new_labels(root, monkeypatch, number):
    dataset, count = LeRobotDataset(root), 0

    def interrupted(move: Callable, source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGINT)
        move(source, target)

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, partial(interrupted, getattr(os, name)))
    with pytest.raises(KeyboardInterrupt, match="just been written"):
        relabel(dataset, TEXTS)
    assert texts(root) == TEXTS


def test_a_kill_between_the_renames_keeps_the_old_labels(root, monkeypatch):
    before = texts(root)
    rename = os.rename

    class Killed(BaseException):
        pass

    def killed(source: Path, target: Path) -> None:
        if target == root / "data":
            raise Killed
        rename(source, target)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)  # a file system that cannot
    monkeypatch.setattr(files.os, "rename", killed)
    with pytest.raises(Killed):
        relabel(LeRobotDataset(root), TEXTS)
    monkeypatch.undo()
    assert not (root / "data").exists()
    assert texts(root) == before


def test_no_episodes_are_recorded_into_an_annotated_dataset(root):
    relabel(LeRobotDataset(root), TEXTS, language_columns=True)
    with pytest.raises(ValueError, match="has been annotated; write the new episodes into a new folder"):
        DatasetWriter(root, robot())


def test_labels_can_be_replaced_again(root):
    relabel(LeRobotDataset(root), TEXTS, language_columns=True)
    relabel(LeRobotDataset(root), TEXTS[::-1])
    assert texts(root) == TEXTS[::-1]
    without_own_column(root)
    assert texts(root) == TEXTS[::-1]


def test_a_dataset_with_only_empty_labels_has_no_subtasks(root):
    relabel(LeRobotDataset(root), [""] * 30)
    assert LeRobotDataset(root).subtasks is None
