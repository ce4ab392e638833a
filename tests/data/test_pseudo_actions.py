from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from test_loader import draw, loader

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.pseudo_actions import load_pseudo_actions, save_pseudo_actions

ACTIONS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def test_they_come_back_as_they_were_written(tmp_path):
    save_pseudo_actions(ACTIONS, tmp_path / "a.parquet")
    np.testing.assert_array_equal(load_pseudo_actions(tmp_path / "a.parquet", 4, 3), ACTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_files_that_are_absent_damaged_or_of_another_dataset(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(ValueError, match="no inferred actions"):
        load_pseudo_actions(path, 4, 3)
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="no inferred actions"):
        load_pseudo_actions(path, 4, 3)
    save_pseudo_actions(ACTIONS, path)
    with pytest.raises(ValueError, match="4 actions for 5 frames"):
        load_pseudo_actions(path, 5, 3)
    with pytest.raises(ValueError, match="actions of 3 numbers, the robot's have 2"):
        load_pseudo_actions(path, 4, 2)


def test_inferred_actions_take_the_place_of_those_that_a_video_lacks(tmp_path):
    videos = LeRobotDataset(tiny.write_dataset(tmp_path / "videos", with_actions=False))
    inferred = np.random.default_rng(0).uniform(-0.1, 0.1, (20, tiny.ACTION)).astype(np.float32)
    inferred[:, -1] = np.nan
    save_pseudo_actions(inferred, tmp_path / "a.parquet")
    sources = {"actions": False, "pseudo_actions": str(tmp_path / "a.parquet")}
    batch = draw(loader([videos], sources=sources))
    for index, name in enumerate(batch.ids):
        episode, frame = int(name.split()[-3]), int(name.split()[-1])
        assert batch.action_mask[index, :, 0].tolist() == [step < 10 - frame for step in range(tiny.CHUNK)]
        torch.testing.assert_close(
            batch.actions[index, 0, :-1], torch.from_numpy(inferred[10 * episode + frame, :-1] * 10)
        )
    assert not batch.action_mask[..., -1].any()
    assert batch.actions.isfinite().all()
    with pytest.raises(ValueError, match="20 actions for 10 frames"):
        loader([LeRobotDataset(tiny.write_dataset(tmp_path / "d", episodes=1))], sources=sources)
