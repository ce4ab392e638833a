"""The episodes that a checkpoint was trained on are recognised wherever they lie."""

from __future__ import annotations

import shutil

import pytest
import tiny

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.policy.training_data import TrainingData


def record(root, **settings) -> TrainingData:
    return TrainingData.of([(DatasetConfig(path=str(root), **settings), LeRobotDataset(root))], None)


def test_held_out_episodes_are_those_that_training_left_out(tmp_path):
    root = tiny.write_dataset(tmp_path / "data", episodes=5)
    found = record(root, validation_episodes="3:5")
    assert [each.index for each in found.held_out(LeRobotDataset(root))] == [3, 4]
    assert [each.index for each in record(root).held_out(LeRobotDataset(root))] == []


def test_they_are_recognised_in_a_copy_and_after_the_dataset_has_grown(tmp_path):
    root = tiny.write_dataset(tmp_path / "data", episodes=3)
    found = record(root, validation_episodes="2:3")
    shutil.copytree(root, tmp_path / "moved")
    with DatasetWriter(tmp_path / "moved", tiny.robot_spec()) as writer:
        for step in range(4):
            seen = tiny.observation(1000 + step)
            writer.add_frame(seen.images, seen.state, seen.state[:2] / 10, "wait")
        writer.end_episode("a new one", keep=True)
    assert [each.index for each in found.held_out(LeRobotDataset(tmp_path / "moved"))] == [2, 3]


def test_what_a_continued_policy_was_trained_on_stays_in_the_record(tmp_path):
    root = tiny.write_dataset(tmp_path / "data", episodes=4)
    first = record(root, validation_episodes="2:4")
    source = (DatasetConfig(path=str(root), validation_episodes="0:2"), LeRobotDataset(root))
    assert not TrainingData.of([source], first).held_out(LeRobotDataset(root))


def test_it_is_read_strictly(tmp_path):
    (tmp_path / "training_data.json").write_text('{"datasets": [{"path": "x", "episodes": ["no"]}]}')
    with pytest.raises(ValueError, match=r"training_data\.json"):
        TrainingData.load(tmp_path / "training_data.json")
