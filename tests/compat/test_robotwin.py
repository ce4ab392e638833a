"""Conversion of raw RoboTwin and RMBench episodes, and errors for defective ones."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from foreign_datasets import LENGTHS, SUBTASKS, edit_json, joints, jpeg, make_image, psnr, write_robotwin
from full_disk import full_disk

from wla.compat import raw_convert
from wla.compat.raw_convert import convert_raw
from wla.compat.robotwin import ActionSpace, RawDataset
from wla.data.lerobot.episode_table import read_episodes
from wla.data.lerobot.format import read_info
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.paraphrases import read_paraphrases

h5py = pytest.importorskip("h5py")


def convert_robotwin(source: Path, out: Path, *, space: ActionSpace, fps: float) -> int:
    return convert_raw(RawDataset(source, space), out, fps=fps)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return write_robotwin(tmp_path_factory.mktemp("robotwin") / "raw")


@pytest.fixture
def source(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "raw"))


@pytest.fixture(scope="module")
def converted(pristine, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "new"
    assert convert_robotwin(pristine, out, space="joint", fps=30.0) == 3
    return out


def test_the_action_is_the_next_state_and_the_last_one_is_repeated(converted):
    dataset = LeRobotDataset(converted)
    assert dataset.fps == 30
    for episode in dataset.episodes:
        vectors = joints(episode.index, LENGTHS[episode.index])
        span = slice(episode.start, episode.end)
        np.testing.assert_array_equal(dataset.state[span], vectors)
        np.testing.assert_array_equal(dataset.actions[span], np.concatenate([vectors[1:], vectors[-1:]]))
    names = dataset.info.features["action"].names
    assert (names[0], names[6], names[7], names[13]) == (
        "left_joint_1",
        "left_gripper",
        "right_joint_1",
        "right_gripper",
    )


def test_images_keep_their_colours_and_order(converted):
    dataset = LeRobotDataset(converted)
    assert list(dataset.cameras) == ["cam_high", "cam_left_wrist", "cam_right_wrist"]
    for index, camera in enumerate(dataset.cameras):
        for episode in dataset.episodes:
            for frame in range(len(episode)):
                image = dataset.frames(camera)[episode.start + frame]
                assert psnr(image, make_image(episode.index, frame, index)) > 25
                assert psnr(image[..., ::-1], make_image(episode.index, frame, index)) < 20


def test_poses_are_position_rotation_and_gripper_of_both_arms(pristine, tmp_path):
    convert_robotwin(pristine, tmp_path / "new", space="endpose", fps=12.5)
    dataset = LeRobotDataset(tmp_path / "new")
    assert dataset.fps == 12.5
    assert dataset.state.shape == (sum(LENGTHS), 16)
    vector = joints(0, LENGTHS[0])
    expected = np.concatenate([vector[1, :7], [0.0], vector[1, 7:], [0.7]]).astype(np.float32)
    np.testing.assert_array_equal(dataset.state[1], expected)
    np.testing.assert_array_equal(dataset.actions[0], expected)
    assert dataset.info.features["action"].names[6:9] == ["left_qz", "left_gripper", "right_x"]


def test_subtasks_have_the_annotated_durations(converted):
    dataset = LeRobotDataset(converted)
    for episode in dataset.episodes:
        subtasks = [dataset.subtask_texts[i] for i in dataset.subtasks[episode.start : episode.end]]
        assert subtasks == [SUBTASKS[0]] * 2 + [SUBTASKS[1]] * (len(episode) - 2)


def test_durations_may_count_steps_between_frames(source, tmp_path):
    edit_json(source / "language_annotation.json", episode_1=[["a", 1], ["b", LENGTHS[1] - 2]])
    convert_robotwin(source, tmp_path / "new", space="joint", fps=30.0)
    dataset = LeRobotDataset(tmp_path / "new")
    episode = dataset.episodes[1]
    subtasks = [dataset.subtask_texts[i] for i in dataset.subtasks[episode.start : episode.end]]
    assert subtasks == ["a", "b", "b", "b"]


def test_without_an_annotation_there_are_no_subtasks(source, tmp_path):
    (source / "language_annotation.json").unlink()
    convert_robotwin(source, tmp_path / "new", space="joint", fps=30.0)
    assert LeRobotDataset(tmp_path / "new").subtasks is None


def test_the_seen_phrasings_are_written_as_paraphrases(converted):
    dataset = LeRobotDataset(converted)
    assert dataset.instructions == ("Put the cup on the plate.", "Open the drawer.")
    assert [episode.instruction for episode in dataset.episodes] == [dataset.instructions[i] for i in (0, 0, 1)]
    cup = "Put the cup on the plate."
    paraphrases = read_paraphrases(converted / "instructions.json", dataset.instructions)
    assert paraphrases[cup] == (cup, f"{cup} Now 0.", f"{cup} Now 1.")
    assert paraphrases["Open the drawer."][1:] == ("Open the drawer. Now 2.",)


def test_statistics_are_written(converted):
    dataset = LeRobotDataset(converted)
    stats = json.loads((converted / "meta/stats.json").read_text())
    np.testing.assert_allclose(stats["action"]["mean"], dataset.actions.mean(0), rtol=1e-5)
    rows = read_episodes(converted, read_info(converted), with_stats=True)[0]
    np.testing.assert_allclose(rows[1]["stats/observation.state/max"], joints(1, LENGTHS[1]).max(0), rtol=1e-6)


def test_episodes_are_sorted_by_number_and_may_have_gaps(source, tmp_path):
    for old, new in ((1, 10), (0, 4)):
        (source / f"data/episode{old}.hdf5").rename(source / f"data/episode{new}.hdf5")
        (source / f"instructions/episode{old}.json").rename(source / f"instructions/episode{new}.json")
    (source / "language_annotation.json").unlink()
    convert_robotwin(source, tmp_path / "new", space="joint", fps=30.0)
    assert [len(episode) for episode in LeRobotDataset(tmp_path / "new").episodes] == [LENGTHS[i] for i in (2, 0, 1)]


def test_many_frames_become_several_shards(pristine, tmp_path, monkeypatch):
    monkeypatch.setattr(raw_convert, "SHARD_FRAMES", 10)
    convert_robotwin(pristine, tmp_path / "new", space="joint", fps=30.0)
    assert len(list((tmp_path / "new/data").rglob("*.parquet"))) == 2
    dataset = LeRobotDataset(tmp_path / "new")
    np.testing.assert_array_equal(dataset.state[-1], joints(2, LENGTHS[2])[-1])
    assert psnr(dataset.frames("cam_high")[-1], make_image(2, LENGTHS[2] - 1)) > 25


def put(root: Path, name: str, values: object) -> None:
    """Replaces an HDF5 dataset of episode 1; None removes it."""
    with h5py.File(root / "data/episode1.hdf5", "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values


def images(root: Path, frames: list[bytes]) -> None:
    put(root, "observation/head_camera/rgb", np.array(frames))


def shots(length: int, size: tuple[int, int] = (32, 48)) -> list[bytes]:
    return [jpeg(make_image(1, frame, size=size)) for frame in range(length)]


def remove_cameras(root: Path) -> None:
    with h5py.File(root / "data/episode1.hdf5", "r+") as file:
        del file["observation"]


def nan_vector() -> np.ndarray:
    vector = joints(1, 4)
    vector[2, 3] = np.nan
    return vector


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut file": (lambda root: (root / "data/episode1.hdf5").write_bytes(b"\x89HDF"), "episode1.hdf5: damaged HDF5"),
    "no joints": (
        lambda root: put(root, "joint_action/vector", None),
        "episode1.hdf5: /joint_action/vector is missing; record it, or choose the other --action",
    ),
    "odd joints": (
        lambda root: put(root, "joint_action/vector", np.zeros((4, 7))),
        "episode1.hdf5: joint_action/vector has 7 dimensions; an even number, for two arms, is required",
    ),
    "other robot": (
        lambda root: put(root, "joint_action/vector", np.zeros((4, 16))),
        "episode1.hdf5: has other dimensions, cameras or image sizes than the first episode",
    ),
    "not finite": (lambda root: put(root, "joint_action/vector", nan_vector()), "has values that are not finite"),
    "one frame": (
        lambda root: (
            put(root, "joint_action/vector", np.zeros((1, 14))),
            [put(root, f"observation/{c}_camera/rgb", np.array(shots(1))) for c in ("head", "left", "right")],
        ),
        "episode1.hdf5: has fewer than 2 frames; remove the episode",
    ),
    "fewer images": (
        lambda root: images(root, shots(3)),
        "episode1.hdf5: /observation/head_camera/rgb has 3 images for 4 frames",
    ),
    "damaged image": (
        lambda root: images(root, [*shots(2), b"not an image", shots(1)[0]]),
        "episode1.hdf5: /observation/head_camera/rgb, frame 2: damaged image",
    ),
    "cut image": (
        lambda root: images(root, [*shots(3), shots(1)[0][:400]]),
        "episode1.hdf5: /observation/head_camera/rgb, frame 3: damaged image",
    ),
    "two sizes": (
        lambda root: images(root, [*shots(3), *shots(1, (16, 48))]),
        r"episode1.hdf5: camera 'cam_high' has images of \[\(16, 48\), \(32, 48\)\] pixels",
    ),
    "odd size": (lambda root: images(root, shots(4, (31, 48))), "H.264 requires one even size"),
    "other size": (lambda root: images(root, shots(4, (30, 48))), "image sizes than the first episode"),
    "no camera": (remove_cameras, "episode1.hdf5: has none of the cameras head_camera, "),
    "no instructions": (
        lambda root: (root / "instructions/episode1.json").unlink(),
        "instructions/episode1.json: file is missing",
    ),
    "damaged instructions": (
        lambda root: (root / "instructions/episode1.json").write_text("{"),
        "instructions/episode1.json: damaged JSON",
    ),
    "instructions of another kind": (
        lambda root: (root / "instructions/episode1.json").write_text("[]"),
        "instructions/episode1.json: is a list, not a JSON object",
    ),
    "nothing seen": (
        lambda root: edit_json(root / "instructions/episode1.json", seen=[]),
        "instructions/episode1.json: needs a list 'seen' of instructions",
    ),
    "empty phrasing": (
        lambda root: edit_json(root / "instructions/episode1.json", seen=["x", " "]),
        "none of them empty",
    ),
    "long subtasks": (
        lambda root: edit_json(root / "language_annotation.json", episode_1=[["a", 5]]),
        "the subtasks of episode_1 last 5 frames, the episode 4; correct them",
    ),
    "short subtasks": (
        lambda root: edit_json(root / "language_annotation.json", episode_1=[["a", 1], ["b", 1]]),
        "the subtasks of episode_1 last 2 frames, the episode 4",
    ),
    "no subtasks": (
        lambda root: edit_json(root / "language_annotation.json", episode_1=None),
        r"episode_1 needs a list of \[subtask, frames\]",
    ),
    "no subtask at all": (
        lambda root: edit_json(root / "language_annotation.json", episode_1=[]),
        "the subtasks of episode_1 last 0 frames",
    ),
    "span without duration": (
        lambda root: edit_json(root / "language_annotation.json", episode_1=[["a"]]),
        r"episode_1 needs a list of \[subtask, frames\]",
    ),
    "negative duration": (
        lambda root: edit_json(root / "language_annotation.json", episode_1=[["a", 6], ["b", -2]]),
        r"episode_1 needs a list of \[subtask, frames\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_defective_episode_is_refused_and_leaves_nothing_behind(name, source, tmp_path):
    damage, message = BAD[name]
    damage(source)
    with pytest.raises(ValueError, match=message) as caught:
        convert_robotwin(source, tmp_path / "new", space="joint", fps=30.0)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "episode1.hdf5: /endpose/right_endpose is missing; record it, or choose the other --action"),
        (np.zeros((4, 6)), r"inconsistent poses \(.*right_endpose \(4, 6\)"),
        (np.zeros((3, 7)), "right_endpose has 3 frames, /endpose/left_endpose 4"),
    ],
)
def test_defective_poses_are_refused(values, message, source, tmp_path):
    put(source, "endpose/right_endpose", values)
    with pytest.raises(ValueError, match=message):
        convert_robotwin(source, tmp_path / "new", space="endpose", fps=30.0)


def test_without_h5py_the_error_contains_the_install_command(pristine, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"reading HDF5 needs h5py; run pip install h5py"):
        convert_robotwin(pristine, tmp_path / "new", space="joint", fps=30.0)


def test_a_folder_without_episodes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no data/episode<number>.hdf5; give the folder that contains `data`"):
        convert_robotwin(tmp_path, tmp_path / "new", space="joint", fps=30.0)


def test_a_full_disk_leaves_nothing_behind(pristine, tmp_path):
    with full_disk(1500), pytest.raises(ValueError, match=r"new: cannot write \(.*\); nothing was left behind"):
        convert_robotwin(pristine, tmp_path / "new", space="joint", fps=30.0)
    assert list(tmp_path.iterdir()) == []
