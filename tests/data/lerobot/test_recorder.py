"""Episodes of the episode loop become a dataset."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_datasets import image
from toy_robot import robot

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.recorder import DatasetRecorder
from wla.data.lerobot.writer import DatasetWriter
from wla.types import ActionChunk, Observation, StepResult


def observation(i: int) -> Observation:
    return Observation({"front": image(0, i), "wrist": image(1, i)}, np.full(3, i, np.float32))


def result(i: int) -> StepResult:
    return StepResult(reward=i / 2, terminated=i == 3, truncated=False, success=i >= 2)


def play(recorder: DatasetRecorder, seed: int, outcome: str, subtasks: tuple[str, ...] = ("reach", "grasp")) -> None:
    recorder.start(seed, f"task {seed}")
    chunk = ActionChunk(np.arange(4, dtype=np.float32)[:, None].repeat(2, 1) / 10, subtasks)
    for i in range(4):
        recorder.step(observation(i), chunk.actions[i], chunk, i, result(i))
    recorder.end(observation(4), outcome)


def test_only_successes_are_kept(tmp_path):
    with DatasetWriter(tmp_path / "d", robot()) as writer:
        recorder = DatasetRecorder(writer)
        for seed, outcome in enumerate(("success", "failure", "error", "success")):
            play(recorder, seed, outcome)
    dataset = LeRobotDataset(tmp_path / "d")
    assert [(e.seed, e.instruction, len(e)) for e in dataset.episodes] == [(0, "task 0", 4), (3, "task 3", 4)]
    np.testing.assert_array_equal(dataset.state[:4, 0], np.arange(4))
    np.testing.assert_array_equal(dataset.actions[:4, 0], np.float32([0, 0.1, 0.2, 0.3]))
    assert dataset.subtask_texts == ("reach",)


def test_what_was_advised_is_recorded_and_whether_it_was_done(tmp_path):
    with DatasetWriter(tmp_path / "d", robot()) as writer:
        recorder = DatasetRecorder(writer)
        play(recorder, 0, "success")
        recorder.start(1, "go")
        for i in range(4):
            advised = ActionChunk(np.full((1, 2), 0.5, np.float32), ("reach",))
            recorder.step(observation(i), np.full(2, 0.5 if i < 2 else 0.1, np.float32), advised, 0, result(i))
        recorder.end(observation(4), "success")
    dataset = LeRobotDataset(tmp_path / "d")
    assert (dataset.actions[4:] == 0.5).all()
    assert [episode.action_executed for episode in dataset.episodes] == [None, (True, True, False, False)]


def test_failures_can_be_kept(tmp_path):
    with DatasetWriter(tmp_path / "d", robot()) as writer:
        play(DatasetRecorder(writer, keep=("success", "failure")), 0, "failure", ())
    dataset = LeRobotDataset(tmp_path / "d")
    assert len(dataset) == 4
    assert dataset.subtasks is None


@pytest.mark.parametrize("with_actions", [True, False])
def test_broken_off_episode_is_forgotten(tmp_path, with_actions):
    with DatasetWriter(tmp_path / "d", robot(), with_actions=with_actions) as writer:
        recorder = DatasetRecorder(writer)
        recorder.start(7, "never ends")
        recorder.step(observation(9), np.zeros(2, np.float32), ActionChunk(np.zeros((1, 2), np.float32)), 0, result(0))
        play(recorder, 1, "success")
    dataset = LeRobotDataset(tmp_path / "d")
    assert len(dataset) == 4
    assert (dataset.actions is not None) == with_actions


def test_rewards_are_kept_in_lerobots_columns(tmp_path):
    root = tmp_path / "d"
    with DatasetWriter(root, robot(), with_rewards=True) as writer:
        recorder = DatasetRecorder(writer)
        for seed in range(2):
            play(recorder, seed, "success")
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    assert table["next.reward"].to_pylist() == [0, 0.5, 1, 1.5] * 2
    assert table["next.done"].to_pylist() == [False, False, False, True] * 2
    assert table["next.success"].to_pylist() == [False, False, True, True] * 2
    info = json.loads((root / "meta/info.json").read_text())
    kinds = {
        name: (info["features"][name]["dtype"], info["features"][name]["shape"]) for name in table.column_names[3:6]
    }
    assert kinds == {"next.reward": ("float32", [1]), "next.done": ("bool", [1]), "next.success": ("bool", [1])}
    assert json.loads((root / "meta/stats.json").read_text())["next.reward"]["max"] == [1.5]
    dataset = LeRobotDataset(root)
    np.testing.assert_array_equal(dataset.rewards, np.float32([0, 0.5, 1, 1.5] * 2))


@pytest.mark.parametrize("with_rewards", [True, False])
def test_datasets_with_and_without_rewards_do_not_mix(tmp_path, with_rewards):
    with DatasetWriter(tmp_path / "d", robot(), with_rewards=with_rewards) as writer:
        play(DatasetRecorder(writer), 0, "success")
    assert (LeRobotDataset(tmp_path / "d").rewards is not None) == with_rewards
    with pytest.raises(ValueError, match=r"d: the dataset has (no )?rewards and the new episodes have .*new folder"):
        DatasetWriter(tmp_path / "d", robot(), with_rewards=not with_rewards)


def test_a_frame_has_a_result_exactly_where_rewards_are_kept(tmp_path):
    writer = DatasetWriter(tmp_path / "d", robot(), with_rewards=True)
    with pytest.raises(ValueError, match="has rewards, but the frame has none; see with_rewards"):
        writer.add_frame(observation(0).images, observation(0).state, np.zeros(2, np.float32))


@pytest.mark.parametrize("marked", [True, False])
def test_marks_of_interventions_are_kept_and_do_not_mix_with_datasets_without(tmp_path, marked):
    root = tmp_path / "d"
    with DatasetWriter(root, robot(), with_interventions=marked) as writer:
        for i in range(3):
            seen = observation(i)
            mark = {"intervention": i == 1} if marked else {}
            writer.add_frame(seen.images, seen.state, np.zeros(2, np.float32), **mark)
        mark, seen = {} if marked else {"intervention": True}, observation(3)
        with pytest.raises(ValueError, match="see with_interventions"):
            writer.add_frame(seen.images, seen.state, np.zeros(2, np.float32), **mark)
        writer.end_episode("go", keep=True)
    assert (LeRobotDataset(root).interventions is None) == (not marked)
    if marked:
        assert LeRobotDataset(root).interventions.tolist() == [False, True, False]
        feature = json.loads((root / "meta/info.json").read_text())["features"]["intervention"]
        assert (feature["dtype"], feature["shape"]) == ("bool", [1])
    with pytest.raises(ValueError, match=r"the dataset has (no )?marks of interventions and the new episodes have"):
        DatasetWriter(root, robot(), with_interventions=not marked)
