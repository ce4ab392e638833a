from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from test_loader import make_sampler, sample_batch

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.pseudo_actions import load_pseudo_actions, save_pseudo_actions

ACTIONS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def test_saved_pseudo_actions_load_unchanged(tmp_path):
    save_pseudo_actions(ACTIONS, tmp_path / "a.parquet")
    np.testing.assert_array_equal(load_pseudo_actions(tmp_path / "a.parquet", 4, 3), ACTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_files_that_are_absent_damaged_or_of_a_different_dataset(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(ValueError, match="no pseudo-actions"):
        load_pseudo_actions(path, 4, 3)
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="no pseudo-actions"):
        load_pseudo_actions(path, 4, 3)
    save_pseudo_actions(ACTIONS, path)
    with pytest.raises(ValueError, match="4 actions for 5 frames"):
        load_pseudo_actions(path, 5, 3)
    with pytest.raises(ValueError, match="actions have 3 dimensions, the robot's have 2"):
        load_pseudo_actions(path, 4, 2)


def test_pseudo_actions_are_learned_where_a_video_has_no_actions(tmp_path):
    videos = LeRobotDataset(tiny.write_dataset(tmp_path / "videos", with_actions=False))
    pseudo_actions = np.random.default_rng(0).uniform(-0.1, 0.1, (20, tiny.ACTION)).astype(np.float32)
    pseudo_actions[:, -1] = np.nan
    save_pseudo_actions(pseudo_actions, tmp_path / "a.parquet")
    settings = {"actions": False, "pseudo_actions": str(tmp_path / "a.parquet")}
    batch = sample_batch(make_sampler([videos], settings=settings))
    for index, name in enumerate(batch.ids):
        episode, frame = int(name.split()[-3]), int(name.split()[-1])
        assert batch.action_mask[index, :, 0].tolist() == [step < 10 - frame for step in range(tiny.CHUNK)]
        torch.testing.assert_close(
            batch.actions[index, 0, :-1], torch.from_numpy(pseudo_actions[10 * episode + frame, :-1] * 10)
        )
    assert not batch.action_mask[..., -1].any()
    assert batch.actions.isfinite().all()
    with pytest.raises(ValueError, match="20 actions for 10 frames"):
        make_sampler([LeRobotDataset(tiny.write_dataset(tmp_path / "d", episodes=1))], settings=settings)
