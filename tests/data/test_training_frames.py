"""Images of training: the same pixels from the cache and from the files, at the size that is read, within a limit."""

from __future__ import annotations

import numpy as np
import pytest
import test_reader

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.training_frames import open_training_frames
from wla.data.transforms import resize

SIDES = {"front": [16, 24], "wrist": [16]}
CHOSEN = np.array([3, 25, 3, 0])


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_cached_and_sought_frames_are_those_that_training_resized(root, fit):
    dataset = LeRobotDataset(root)
    cached = open_training_frames(dataset, SIDES, fit)
    sought = open_training_frames(dataset, SIDES, fit, cache=False)
    assert cached.keys() == sought.keys() == {("front", 16), ("front", 24), ("wrist", 16)}
    for (camera, side), frames in cached.items():
        expected = resize(dataset.random_access_frames(camera)[CHOSEN], side, fit).numpy()
        np.testing.assert_array_equal(frames[CHOSEN], expected)
        np.testing.assert_array_equal(sought[camera, side][CHOSEN], expected)


def test_the_cache_is_as_large_as_what_is_read(root):
    open_training_frames(LeRobotDataset(root), SIDES)
    sizes = {path.name.rpartition("-")[0]: path.stat().st_size for path in (root / ".cache").iterdir()}
    expected = {"front-16x16": 16, "front-24x24": 24, "wrist-16x16": 16}
    assert {name: (size - 128) / (30 * 3) for name, size in sizes.items()} == {n: s * s for n, s in expected.items()}


def test_above_the_limit_files_are_sought_in_and_a_line_says_so(root, capsys):
    frames = open_training_frames(LeRobotDataset(root), SIDES, limit_gb=1e-5)
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert f"{root}: decoded frames would take 0.0 GB, more than cache_gb=1e-05; its files are sought in" in printed
    assert not (root / ".cache").exists()
    assert frames["front", 16][CHOSEN].shape == (4, 16, 16, 3)


def test_a_full_disk_makes_training_seek(root, capsys, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("wla.data.training_frames.shutil.disk_usage", lambda path: usage)
    open_training_frames(LeRobotDataset(root), SIDES)
    assert "the disk has 0.0 GB free; its files are sought in" in capsys.readouterr().err
    assert not (root / ".cache").exists()


def test_single_images_in_data_files_can_be_sought(root):
    test_reader.test_single_images_are_read_instead_of_video(root)
    dataset = LeRobotDataset(root)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(dataset.random_access_frames("front")[order], dataset.frames("front")[order])
