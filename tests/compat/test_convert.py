"""Which converter a source gets, and what is refused."""

from __future__ import annotations

import re

import pytest
from foreign_datasets import edit_json, write_robotwin, write_v21

from wla.compat.convert import convert
from wla.data.lerobot.reader import LeRobotDataset


def test_v21_is_recognised(tmp_path):
    assert convert(write_v21(tmp_path / "old"), tmp_path / "new") == 3
    assert LeRobotDataset(tmp_path / "new").fps == 10


def test_robotwin_is_recognised_and_has_joints_at_30_hz(tmp_path):
    pytest.importorskip("h5py")
    raw = write_robotwin(tmp_path / "raw")
    assert convert(raw, tmp_path / "new") == 3
    dataset = LeRobotDataset(tmp_path / "new")
    assert (dataset.fps, dataset.state.shape[1]) == (30, 14)
    convert(raw, tmp_path / "poses", action="endpose", fps=20.0)
    dataset = LeRobotDataset(tmp_path / "poses")
    assert (dataset.fps, dataset.state.shape[1]) == (20, 16)
    with pytest.raises(ValueError, match="fps is -1; it must be positive"):
        convert(raw, tmp_path / "bad", fps=-1.0)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("v3.0", "is v3.0 already; there is nothing to convert"),
        ("v2.0", "is LeRobot v2.0; use LeRobot's own scripts to make it v2.1 first"),
        ("v1.6", "is LeRobot v1.6; use"),
    ],
)
def test_other_versions(version, message, tmp_path):
    edit_json(write_v21(tmp_path / "old") / "meta/info.json", codebase_version=version)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "old", tmp_path / "new")


def test_v21_has_its_own_actions_and_rate(tmp_path):
    write_v21(tmp_path / "old")
    with pytest.raises(ValueError, match="has its own actions and fps; leave both out"):
        convert(tmp_path / "old", tmp_path / "new", fps=10.0)
    with pytest.raises(ValueError, match="has its own actions and fps; leave both out"):
        convert(tmp_path / "old", tmp_path / "new", action="joint")


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_anything_else(folder, tmp_path):
    (tmp_path / "empty/data").mkdir(parents=True)
    (tmp_path / "empty/data/episode_x.hdf5").touch()
    source = tmp_path / folder
    with pytest.raises(ValueError, match=re.escape(f"{source}: nothing that can become LeRobot v3.0; give a")):
        convert(source, tmp_path / "new")
