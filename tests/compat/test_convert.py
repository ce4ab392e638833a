"""Selection of the converter by the format of the source."""

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
        ("v3.0", "is LeRobot v3.0 already; there is nothing to convert"),
        ("v1.6", "is LeRobot v1.6; only v2.0 and v2.1 are converted"),
    ],
)
def test_other_versions_are_refused(version, message, tmp_path):
    edit_json(write_v21(tmp_path / "old") / "meta/info.json", codebase_version=version)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "old", tmp_path / "new")


def test_action_and_fps_are_refused_for_v21(tmp_path):
    write_v21(tmp_path / "old")
    with pytest.raises(ValueError, match="has its own actions and fps; omit --action and --fps"):
        convert(tmp_path / "old", tmp_path / "new", fps=10.0)
    with pytest.raises(ValueError, match="has its own actions and fps; omit --action and --fps"):
        convert(tmp_path / "old", tmp_path / "new", action="joint")


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_other_folders_are_refused(folder, tmp_path):
    (tmp_path / "empty/data").mkdir(parents=True)
    (tmp_path / "empty/data/episode_x.hdf5").touch()
    source = tmp_path / folder
    message = f"{source}: not a dataset that can be converted to LeRobot v3.0; give a"
    with pytest.raises(ValueError, match=re.escape(message)):
        convert(source, tmp_path / "new")
