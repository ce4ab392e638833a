"""Relabelling replaces the subtasks of all frames or of none, in our own column and in LeRobot's."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from full_disk import full_disk
from test_reader import edit_info, edit_table
from toy_robot import robot

from wla import files
from wla.data.lerobot import relabel as relabel_module
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
    relabel(LeRobotDataset(root), TEXTS)
    without_own_column(root)
    assert texts(root) == TEXTS


def test_our_own_column_has_priority_unless_it_is_blank(root):
    relabel(LeRobotDataset(root), TEXTS)
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
    relabel(LeRobotDataset(root), TEXTS)
    features = json.loads((root / "meta/info.json").read_text("utf-8"))["features"]
    assert features["language_persistent"] == {"dtype": "language", "shape": [1], "names": None}
    assert features["language_events"]["dtype"] == "language"
    assert [pq.ParquetFile(path).num_row_groups for path in sorted(root.glob("data/*/*.parquet"))] == groups
    assert not [path for path in root.rglob("*") if "writing" in path.name or "labels" in path.name]


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
        relabel(dataset, TEXTS)
    assert contents(root) == before


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_interrupt_at_a_rename_leaves_old_or_new_labels(root, monkeypatch, number):
    dataset, count = LeRobotDataset(root), 0
    replace = os.replace

    def interrupted(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGINT)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt, match="just been written"):
        relabel(dataset, TEXTS)
    assert texts(root) == TEXTS


def test_a_kill_between_the_renames_keeps_the_old_labels(root, monkeypatch):
    before = texts(root)
    replace, killed = os.replace, []

    class Killed(BaseException):
        pass

    def replace_once(source: Path, target: Path) -> None:
        if killed:
            raise Killed
        killed.append(source)
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", replace_once)
    with pytest.raises(Killed):
        relabel(LeRobotDataset(root), TEXTS)
    monkeypatch.undo()
    assert not (root / "data").exists()
    assert texts(root) == before


def test_no_episodes_are_recorded_into_an_annotated_dataset(root):
    relabel(LeRobotDataset(root), TEXTS)
    with pytest.raises(ValueError, match="has been annotated; write the new episodes into a new folder"):
        DatasetWriter(root, robot())


def test_labels_can_be_replaced_again(root):
    relabel(LeRobotDataset(root), TEXTS)
    relabel(LeRobotDataset(root), TEXTS[::-1])
    assert texts(root) == TEXTS[::-1]
    without_own_column(root)
    assert texts(root) == TEXTS[::-1]


def test_a_dataset_with_only_empty_labels_has_no_subtasks(root):
    relabel(LeRobotDataset(root), [""] * 30)
    assert LeRobotDataset(root).subtasks is None
