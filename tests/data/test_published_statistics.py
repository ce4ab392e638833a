"""The JSON format of published statistics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk

from wla.data.normalize import Normalizer, Statistics, VectorStatistics
from wla.data.published_statistics import read_published, write_published

STATE = {"min": [0, -1, 2], "max": [1, 1, 2]}
ACTION = {"min": [-1, -1], "max": [1, 3]}


def entry(**changes: object) -> dict:
    return {"action": ACTION, "observation.state": STATE} | changes


def write(path: Path, tree: object) -> Path:
    path.write_text(json.dumps(tree))
    return path


def test_a_single_entry_needs_no_name(tmp_path):
    path = write(tmp_path / "s.json", {"robotwin_all": entry()})
    statistics = read_published(path, state_dim=3, action_dim=2)
    assert statistics == read_published(path, "robotwin_all")
    assert statistics.state.mean is None
    assert statistics.state.count is None
    scaled = Normalizer(statistics.action, name="action", dimensions="ab").normalize(np.array([0.0, 3.0], np.float32))
    assert scaled.tolist() == [0.0, 1.0]
    statistics.save(tmp_path / "statistics.json")
    assert Statistics.load(tmp_path / "statistics.json") == statistics


def test_mean_and_std_are_read_and_quantiles_ignored(tmp_path):
    state = STATE | {"mean": [0, 0, 2], "std": [1, 1, 0], "q01": [0, 0, 0], "count": [100]}
    statistics = read_published(write(tmp_path / "s.json", {"a": {"observation.state": state}}))
    assert statistics.state.std == (1, 1, 0)
    assert statistics.action is None


def test_written_entries_are_read_and_the_others_kept(tmp_path):
    path = tmp_path / "new" / "s.json"
    both = Statistics(state=VectorStatistics(min=(0.0,), max=(1.0,)), action=VectorStatistics(min=(-2.0,), max=(2.5,)))
    free = Statistics(state=VectorStatistics(min=(3.0,), max=(4.0,)))
    write_published(path, {"a": both, "b": free})
    write_published(path, {"b": both, "c": free})
    assert [read_published(path, name) for name in "abc"] == [both, both, free]
    assert json.loads(path.read_text())["c"] == {"observation.state": {"min": [3.0], "max": [4.0]}}


@pytest.mark.parametrize(
    ("tree", "name", "message"),
    [
        ({"a": entry(), "b": entry()}, None, "has 2 entries, a, b; name the one to use"),
        ({}, None, "has 0 entries, none; name the one"),
        ({"a": entry(), "b": entry()}, "c", "no entry 'c'; the file has a, b"),
        ({"a": {"action": ACTION}}, "a", "entry 'a' has no 'observation.state'"),
        ({"a": 3}, "a", "entry 'a' has no 'observation.state'"),
        ({"a": entry(action=3)}, "a", "entry 'a', 'action' is not an object with min and max"),
        ({"a": entry(action={"min": [0, 5], "max": [1, 4]})}, "a", "'action': dimension 1: min 5.0 is above max 4.0"),
        ({"a": entry(action={"min": [0], "max": [1, 4]})}, "a", "'action': min, max have different len"),
        ({"a": entry(action={"min": [0, "x"], "max": [1, 4]})}, "a", "'action': min 1 Input should be a valid number"),
        ({"a": entry(action={"max": [1, 4]})}, "a", "'action' has no 'min'; write the file with `wla data stats"),
        ({"a": entry(action={"min": [0], "max": [1]})}, "a", "'action' has 1 dimensions, the robot has 2; use"),
        ([1], "a", "is a list, not a JSON object"),
        (
            {"norm_stats": {"state": {"mean": [0], "q01": [0]}}},
            None,
            "is openpi's statistics .norm_stats.json.",
        ),
        (entry(), None, "is LeRobot's statistics of one dataset .meta/stats.json., of another format; `wla data stats"),
        (entry(), "action", "is LeRobot's statistics of one dataset"),
    ],
)
def test_a_bad_file_is_refused(tree, name, message, tmp_path):
    write(tmp_path / "s.json", tree)
    with pytest.raises(ValueError, match=message) as caught:
        read_published(tmp_path / "s.json", name, state_dim=3, action_dim=2)
    assert str(caught.value).startswith(str(tmp_path / "s.json"))
    assert "\n" not in str(caught.value)


def test_an_absent_file_and_broken_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no statistics file here; `wla data stats"):
        read_published(tmp_path / "s.json")
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(ValueError, match="damaged JSON"):
        read_published(tmp_path / "s.json")


def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = write(tmp_path / "s.json", {"a": entry()})
    before = path.read_text()
    many = {str(i): Statistics(state=VectorStatistics(min=(0.0,), max=(1.0,))) for i in range(100)}
    with full_disk(300), pytest.raises(ValueError, match=r"s.json: cannot write .*; free disk space or choose another"):
        write_published(path, many)
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["s.json"]


@pytest.mark.parametrize(
    "tree",
    [
        {"codebase_version": "v3.0", "features": {}},
        {"observation.state": {"min": [0.0]}},
        {"norm_stats": {}},
        {"a": {}},
    ],
)
def test_entries_are_added_to_no_other_file(tree, tmp_path):
    path = tmp_path / "info.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=r"info.json: is "):
        write_published(path, {"a": Statistics(state=VectorStatistics(min=(0.0,), max=(1.0,)), action=None)})
    assert json.loads(path.read_text()) == tree
