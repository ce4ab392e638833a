"""LeRobot reads our datasets, and we read its datasets. Runs where `lerobot` is installed; it is not a dependency."""

from __future__ import annotations

import numpy as np
import pytest
from small_datasets import add_frames, image, write_dataset
from toy_robot import robot

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter

lerobot_dataset = pytest.importorskip("lerobot.datasets.lerobot_dataset")

pytestmark = pytest.mark.slow  # importing LeRobot takes seconds


def test_lerobot_reads_our_dataset(tmp_path):
    ours = LeRobotDataset(write_dataset(tmp_path / "d", (0, 1, 2)))
    theirs = lerobot_dataset.LeRobotDataset("local/d", root=tmp_path / "d", video_backend="pyav")
    assert (len(theirs), theirs.num_episodes, theirs.fps) == (30, 3, 10)
    for index in (0, 9, 10, 25):
        frame = theirs[index]
        np.testing.assert_array_equal(frame["observation.state"], ours.state[index])
        np.testing.assert_array_equal(frame["action"], ours.actions[index])
        assert frame["task"] == ours.episode_of(index).instruction
        assert frame["subtask_text"] == ours.subtask_texts[ours.subtasks[index]]
        pixels = (frame["observation.images.front"].numpy().transpose(1, 2, 0) * 255).round().astype(int)
        assert np.abs(pixels - ours.frames("front")[index]).max() <= 2  # two ways from YUV to RGB


@pytest.mark.parametrize("use_videos", [True, False])
def test_we_read_a_dataset_of_lerobot(tmp_path, use_videos):
    dtype = "video" if use_videos else "image"
    features = {
        "observation.state": {"dtype": "float32", "shape": (4,), "names": None},
        "action": {"dtype": "float32", "shape": (2,), "names": None},
        "observation.images.top": {"dtype": dtype, "shape": (64, 80, 3), "names": ["height", "width", "channels"]},
    }
    theirs = lerobot_dataset.LeRobotDataset.create(
        "local/d", fps=30, features=features, root=tmp_path / "d", use_videos=use_videos
    )
    for episode in range(3):
        for i in range(10 + episode):
            theirs.add_frame(
                {
                    "observation.state": np.full(4, i, np.float32),
                    "action": np.full(2, episode, np.float32),
                    "observation.images.top": image(episode, i, (64, 80)),
                    "task": f"task {episode % 2}",
                }
            )
        theirs.save_episode()
    theirs.finalize()
    ours = LeRobotDataset(tmp_path / "d")
    assert ours.robot_spec is None
    assert ours.subtasks is None
    assert ours.fps == 30
    assert ours.cameras == {"top": (64, 80)}
    assert [(e.start, e.end, e.instruction) for e in ours.episodes] == [
        (0, 10, "task 0"),
        (10, 21, "task 1"),
        (21, 33, "task 0"),
    ]
    np.testing.assert_array_equal(ours.state[:, 0], np.r_[0:10, 0:11, 0:12])
    for episode in ours.episodes:
        for i in range(len(episode)):
            error = np.abs(ours.frames("top")[episode.start + i].astype(int) - image(episode.index, i, (64, 80)))
            assert error.mean() < 6  # the next frame differs by more where a block moved
            assert np.median(error) <= 2


def test_the_tools_of_lerobot_keep_what_protects_our_recordings(tmp_path):
    """Deleting, splitting and merging write `meta/episodes` and the robot file anew, without what is ours."""
    tools = pytest.importorskip("lerobot.datasets.dataset_tools")
    for name, seeds in (("a", (100_000, 100_001, 100_002)), ("b", (3, 4))):
        with DatasetWriter(tmp_path / name, robot()) as writer:
            for seed in seeds:
                add_frames(writer, seed % 7, 10)
                executed = [True] * 5 + [False] * 5 if seed % 3 == 0 else None
                writer.end_episode("do it", keep=True, seed=seed, success=seed % 2 == 0, action_executed=executed)
    a, b = (lerobot_dataset.LeRobotDataset(f"x/{name}", root=tmp_path / name, video_backend="pyav") for name in "ab")
    tools.delete_episodes(a, [1], output_dir=tmp_path / "deleted", repo_id="x/deleted")
    tools.split_dataset(a, {"train": [0, 2], "val": [1]}, output_dir=tmp_path / "split")
    tools.merge_datasets([a, b], output_repo_id="x/merged", output_dir=tmp_path / "merged")
    expected = {
        "deleted": [(100_000, True, 10), (100_002, True, 5)],
        "split/val": [(100_001, False, 10)],
        "merged": [(100_000, True, 10), (100_001, False, 10), (100_002, True, 5), (3, False, 5), (4, True, 10)],
    }
    for name, episodes in expected.items():
        dataset = LeRobotDataset(tmp_path / name)
        executed = [int(dataset.action_executed[e.start : e.end].sum()) for e in dataset.episodes]
        assert [(e.seed, e.success, n) for e, n in zip(dataset.episodes, executed, strict=True)] == episodes
        assert dataset.subtask_texts == ("grasp", "move", "reach")
