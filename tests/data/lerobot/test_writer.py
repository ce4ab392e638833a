"""What was recorded comes back, whatever interrupts the recording."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from full_disk import full_disk
from small_datasets import add_episode, add_frames, episode_arrays, image, psnr, write_dataset
from test_reader import edit_info
from toy_robot import robot

from wla.data.lerobot import shards
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.video import codec


def check_episodes(root: Path, seeds: tuple[int, ...], length: int = 10) -> LeRobotDataset:
    """The dataset holds exactly the episodes of these seeds, in order."""
    dataset = LeRobotDataset(root)
    assert [episode.seed for episode in dataset.episodes] == list(seeds)
    assert len(dataset) == length * len(seeds)
    for episode in dataset.episodes:
        state, actions = episode_arrays(episode.seed, length, robot())
        np.testing.assert_array_equal(dataset.state[episode.start : episode.end], state)
        np.testing.assert_array_equal(dataset.actions[episode.start : episode.end], actions)
        pictures = np.stack([image(episode.seed, i) for i in range(length)])
        assert psnr(dataset.frames("front")[episode.start : episode.end], pictures) > 35
    return dataset


def test_round_trip(tmp_path):
    dataset = check_episodes(write_dataset(tmp_path / "d", (0, 1, 2, 3, 4)), (0, 1, 2, 3, 4))
    assert dataset.robot_spec == robot()
    assert dataset.fps == 10
    assert dataset.instructions == ("do task 0", "do task 1")
    assert [episode.instruction for episode in dataset.episodes] == [f"do task {i % 2}" for i in range(5)]
    np.testing.assert_array_equal(dataset.task_index, np.repeat([0, 1, 0, 1, 0], 10))
    texts = [dataset.subtask_texts[i] for i in dataset.subtasks[:10]]
    assert texts == ["reach"] * 4 + ["grasp"] * 3 + ["move"] * 3
    wrist = np.stack([image(3, i) for i in range(10)])
    assert psnr(dataset.frames("wrist")[20:30], wrist) > 35


def test_statistics_of_the_dataset_join_those_of_the_episodes(tmp_path):
    dataset = LeRobotDataset(write_dataset(tmp_path / "d", (0, 1, 2)))
    stats = json.loads((tmp_path / "d/meta/stats.json").read_text())
    np.testing.assert_allclose(stats["action"]["mean"], dataset.actions.mean(0), atol=1e-6)
    np.testing.assert_allclose(stats["action"]["std"], dataset.actions.std(0), atol=1e-6)
    np.testing.assert_allclose(stats["observation.state"]["min"], dataset.state.min(0), atol=1e-6)
    assert stats["action"]["count"] == [30]
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)


def test_action_free_dataset_has_no_action_column(tmp_path):
    dataset = LeRobotDataset(write_dataset(tmp_path / "d", with_actions=False))
    assert dataset.actions is None
    assert "action" not in dataset.info.features
    assert "action" not in pq.read_schema(tmp_path / "d/data/chunk-000/file-000.parquet").names


def test_vectors_of_one_dimension(tmp_path):
    spec = robot(state_dim=1, action_dim=1)
    with DatasetWriter(tmp_path / "d", spec) as writer:
        add_episode(writer, 0)
    dataset = LeRobotDataset(tmp_path / "d")
    state, actions = episode_arrays(0, 10, spec)
    np.testing.assert_array_equal(dataset.state, state)
    np.testing.assert_array_equal(dataset.actions, actions)


def test_frames_without_subtask(tmp_path):
    with DatasetWriter(tmp_path / "d", robot()) as writer:
        for subtask in ("", "reach"):
            images = {"front": image(0, 0), "wrist": image(1, 0)}
            writer.add_frame(images, np.zeros(3, np.float32), np.zeros(2, np.float32), subtask)
        writer.end_episode("do", keep=True)
    dataset = LeRobotDataset(tmp_path / "d")
    assert dataset.subtasks.tolist() == [-1, 0]
    assert dataset.subtask_texts == ("reach",)
    assert dataset.episodes[0].seed is None


def test_dropped_episodes_leave_no_trace(tmp_path):
    with DatasetWriter(tmp_path / "d", robot()) as writer:
        add_episode(writer, 0)
        add_episode(writer, 1, keep=False)
        add_episode(writer, 2)
    check_episodes(tmp_path / "d", (0, 2))


@pytest.mark.parametrize("shard_frames", [10, 20, 1000])
def test_resume_appends(tmp_path, shard_frames):
    write_dataset(tmp_path / "d", (0, 1, 2), shard_frames=shard_frames)
    LeRobotDataset(tmp_path / "d").frames("front")  # a cache that has to be renewed
    write_dataset(tmp_path / "d", (3, 4), shard_frames=shard_frames)
    check_episodes(tmp_path / "d", (0, 1, 2, 3, 4))
    stats = json.loads((tmp_path / "d/meta/stats.json").read_text())
    assert stats["action"]["count"] == [50]


def test_resume_without_new_episodes_changes_nothing(tmp_path):
    write_dataset(tmp_path / "d")
    before = {path: path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.is_file()}
    write_dataset(tmp_path / "d", ())
    assert before == {path: path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.is_file()}


def test_ctrl_c_keeps_finished_episodes(tmp_path):
    def collect() -> None:
        with DatasetWriter(tmp_path / "d", robot(), shard_frames=1000) as writer:
            add_episode(writer, 0)
            add_episode(writer, 1)
            add_frames(writer, 2, 5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect()
    check_episodes(tmp_path / "d", (0, 1))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(7))
def test_interrupt_at_a_rename_loses_and_doubles_nothing(tmp_path, monkeypatch, number, after):
    replace, renames = os.replace, []

    def interrupted(source, target):
        renames.append(target)
        hit = len(renames) == 7 + number + 1  # the first shard takes seven renames
        if hit and not after:
            raise KeyboardInterrupt
        replace(source, target)
        if hit:
            raise KeyboardInterrupt

    def collect() -> None:
        with DatasetWriter(tmp_path / "d", robot(), shard_frames=10) as writer:
            renames.clear()  # what creating the folder took
            add_episode(writer, 0)
            assert len(renames) == 7
            add_episode(writer, 1)

    monkeypatch.setattr(shards.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect()
    check_episodes(tmp_path / "d", (0, 1))
    assert not list((tmp_path / "d").glob(".staging*"))


def test_killed_between_renames_the_dataset_is_the_last_finished_shard(tmp_path, monkeypatch):
    write_dataset(tmp_path / "d", (0, 1))
    replace = os.replace

    def killed_before_info(source, target):
        if Path(target).name == "info.json":
            raise SystemExit
        replace(source, target)

    monkeypatch.setattr(shards.os, "replace", killed_before_info)
    writer = DatasetWriter(tmp_path / "d", robot(), shard_frames=10)
    with pytest.raises(SystemExit):
        add_episode(writer, 2)
    monkeypatch.undo()
    check_episodes(tmp_path / "d", (0, 1))
    write_dataset(tmp_path / "d", (3,))
    check_episodes(tmp_path / "d", (0, 1, 3))


def test_full_disk_keeps_published_episodes_and_can_be_retried(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = DatasetWriter(tmp_path / "d", robot(), shard_frames=20)
    add_episode(writer, 0)
    add_episode(writer, 1)
    monkeypatch.setattr(shards.os, "fsync", full)
    add_episode(writer, 2)
    with pytest.raises(ValueError, match=r"No space left on device.*keeps its 2 published episodes.*free disk space"):
        writer.close()
    check_episodes(tmp_path / "d", (0, 1))
    assert not list((tmp_path / "d").glob(".staging*"))
    monkeypatch.undo()
    writer.close()
    check_episodes(tmp_path / "d", (0, 1, 2))


def test_full_disk_at_the_start_can_be_retried(tmp_path):
    with (
        full_disk(1000),
        pytest.raises(ValueError, match=r"d: cannot write .*; free disk space or choose"),
    ):
        DatasetWriter(tmp_path / "d", robot())
    assert not (tmp_path / "d").exists()
    check_episodes(write_dataset(tmp_path / "d", (0,)), (0,))


def test_a_second_ctrl_c_does_not_lose_what_the_first_one_saves(tmp_path, monkeypatch):
    replace = os.replace

    def interrupted(source, target):
        os.kill(os.getpid(), signal.SIGINT)
        replace(source, target)

    def collect(error) -> None:
        with DatasetWriter(tmp_path / "d", robot(), shard_frames=1000) as writer:
            add_episode(writer, writer.total_episodes)
            monkeypatch.setattr(shards.os, "replace", interrupted)
            if error:
                raise error

    for error in (KeyboardInterrupt("the first"), None):
        with pytest.raises(KeyboardInterrupt, match="the first" if error else ""):
            collect(error)
        monkeypatch.undo()
    check_episodes(tmp_path / "d", (0, 1))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_while_the_video_is_written(tmp_path, monkeypatch):
    join = codec.join

    def join_on_full_disk(parts, path, rate):
        path.symlink_to("/dev/full")
        join(parts, path, rate)

    monkeypatch.setattr(codec, "join", join_on_full_disk)
    with pytest.raises(ValueError, match="No space left on device"), DatasetWriter(tmp_path / "d", robot()) as writer:
        add_episode(writer, 0)


def test_other_robot_is_refused(tmp_path):
    write_dataset(tmp_path / "d")
    with pytest.raises(ValueError, match=r"different robots: embodiment is 'toy' in .*/d and 'other'"):
        DatasetWriter(tmp_path / "d", robot("other"))


def test_actions_and_no_actions_do_not_mix(tmp_path):
    write_dataset(tmp_path / "d", with_actions=False)
    with pytest.raises(ValueError, match="has no actions and the new episodes have them"):
        DatasetWriter(tmp_path / "d", robot())


def test_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not a dataset"):
        DatasetWriter(tmp_path, robot())
    with pytest.raises(ValueError, match="exists and is not a dataset"):
        DatasetWriter(tmp_path / "thesis.txt", robot())


def test_dataset_of_another_program_is_refused(tmp_path):
    write_dataset(tmp_path / "d")
    (tmp_path / "d/meta/wla_robot.json").unlink()
    with pytest.raises(ValueError, match=r"another program, meta/wla_robot.json is missing"):
        DatasetWriter(tmp_path / "d", robot())


def test_second_process_in_the_folder_is_noticed(tmp_path):
    writer = DatasetWriter(tmp_path / "d", robot())
    add_episode(writer, 0)
    write_dataset(tmp_path / "d", (1,))
    with pytest.raises(ValueError, match="another process wrote into this dataset"):
        writer.close()
    check_episodes(tmp_path / "d", (1,))


def test_odd_camera_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"camera 'front' is 33x48; H.264 video needs an even height and width"):
        DatasetWriter(tmp_path / "d", robot(size=(33, 48)))


GOOD = {
    "images": {"front": image(0, 0), "wrist": image(0, 0)},
    "state": np.zeros(3, np.float32),
    "action": np.zeros(2, np.float32),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": {"front": image(0, 0)}}, r"episode 0, frame 0: cameras \['front'\], the robot has"),
        ({"images": {"front": image(0, 0, (32, 32)), "wrist": image(0, 0)}}, r"image 'front' is uint8 \(32, 32, 3\)"),
        ({"state": np.zeros(4, np.float32)}, r"state has shape \(4,\), the robot's is \(3,\)"),
        ({"action": np.array([0, np.nan], np.float32)}, "action has a value that is not finite"),
        ({"action": None}, "has actions, but the frame has none"),
    ],
)
def test_bad_frames_are_refused(tmp_path, change, message):
    writer = DatasetWriter(tmp_path / "d", robot())
    with pytest.raises(ValueError, match=message):
        writer.add_frame(**GOOD | change)


def test_action_in_an_action_free_dataset_is_refused(tmp_path):
    writer = DatasetWriter(tmp_path / "d", robot(), with_actions=False)
    with pytest.raises(ValueError, match="is action-free, but an action came"):
        writer.add_frame(GOOD["images"], np.zeros(3, np.float32), np.zeros(2, np.float32))


def test_empty_episode_cannot_be_kept(tmp_path):
    with pytest.raises(ValueError, match="episode 0 has no frames"):
        DatasetWriter(tmp_path / "d", robot()).end_episode("do", keep=True)


def test_no_episodes_are_recorded_into_a_dataset_with_other_columns(root):
    edit_info(root, lambda info: info["features"].update(effort={"dtype": "float32", "shape": [1], "names": None}))
    with pytest.raises(ValueError, match="/d: dataset of another program; write the new episodes into a new folder"):
        DatasetWriter(root, robot())
