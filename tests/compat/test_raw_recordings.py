"""Conversion of RoboTwin's present raw format, ALOHA and LIBERO recordings, and errors for defective ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_datasets import jpeg, make_image, psnr
from PIL import Image

from wla.cli.main import main
from wla.compat.convert import convert
from wla.compat.robotwin import decode_jpeg
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.paraphrases import read_paraphrases

h5py = pytest.importorskip("h5py")

LENGTHS = (5, 4)
TASK = "fold the towel"


def numbers(episode: int, width: int) -> np.ndarray:
    rows = np.arange(LENGTHS[episode])[:, None]
    return (100 * episode + rows + np.arange(width) / 100).astype(np.float32)


def true_jpeg(image: np.ndarray, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, comment=comment)
    return file.getvalue()


def write_robotwin_v1(root: Path) -> Path:
    (root / "data").mkdir(parents=True)
    for episode, length in enumerate(LENGTHS):
        with h5py.File(root / f"data/episode_{episode:07d}.hdf5", "w") as file:
            for group, shift in (("state", 0), ("action", 1)):
                for index, side in enumerate(("left", "right")):
                    values = numbers(episode, 20) + shift + 50 * index
                    file[f"{group}/{side}_arm_joint_states"] = values[:, :6]
                    file[f"{group}/{side}_ee_joint_states"] = values[:, 6:7]
                    file[f"{group}/{side}_ee_poses"] = values[:, 7:14]
            for index, camera in enumerate(("cam_left_wrist", "cam_head")):
                images = [true_jpeg(make_image(episode, frame, index), b"XPL-RGB1") for frame in range(length)]
                file.create_dataset(f"vision/{camera}/colors", data=images, dtype=f"S{max(map(len, images)) + 9}")
            file["instructions"] = json.dumps([f"Beat block {episode}.", "Hit it."])
            file["additional_info/frequency"] = np.int32(15)
    return root


def write_aloha(root: Path, *, encoded: bool = False) -> Path:
    root.mkdir(parents=True)
    for episode, length in enumerate(LENGTHS):
        with h5py.File(root / f"episode_{episode}.hdf5", "w") as file:
            file["observations/qpos"], file["action"] = numbers(episode, 14), numbers(episode, 14) + 1
            for index, camera in enumerate(("cam_left_wrist", "cam_high")):
                images: list[Any] = [make_image(episode, frame, index) for frame in range(length)]
                if encoded:
                    files = [np.frombuffer(true_jpeg(image), np.uint8) for image in images]
                    longest = max(map(len, files))
                    images = [np.pad(each, (0, longest - len(each))) for each in files]
                file[f"observations/images/{camera}"] = np.stack(images)
    return root


def write_libero(root: Path) -> Path:
    root.mkdir(parents=True)
    with h5py.File(root / "KITCHEN_open_the_drawer_demo.hdf5", "w") as file:
        file.create_group("data").attrs["problem_info"] = json.dumps({"language_instruction": "open the drawer"})
        for episode, length in enumerate(LENGTHS):
            demo = f"data/demo_{8 + 2 * episode}"  # demo_10 comes after demo_8
            file[f"{demo}/actions"] = numbers(episode, 7)
            file[f"{demo}/obs/ee_states"] = numbers(episode, 6).astype(np.float64)
            file[f"{demo}/obs/gripper_states"] = numbers(episode, 2).astype(np.float64)
            for index, camera in enumerate(("agentview_rgb", "eye_in_hand_rgb")):
                images = [make_image(episode, frame, index)[::-1, ::-1] for frame in range(length)]
                file[f"{demo}/obs/{camera}"] = np.stack(images)
    return root


def require_images(dataset: LeRobotDataset, camera: str, index: int) -> None:
    """Every frame of a camera is the one that was written, in its colours."""
    frames = dataset.frames(camera)
    for episode in dataset.episodes:
        for frame in range(len(episode)):
            written = make_image(episode.index, frame, index)
            assert psnr(frames[episode.start + frame], written) > 25
            assert psnr(frames[episode.start + frame][..., ::-1], written) < 20


def test_robotwin_v1_says_everything_itself(tmp_path):
    assert convert(write_robotwin_v1(tmp_path / "raw"), tmp_path / "new") == 2
    dataset = LeRobotDataset(tmp_path / "new")
    assert dataset.fps == 15
    assert list(dataset.cameras) == ["cam_high", "cam_left_wrist"]
    require_images(dataset, "cam_high", 1)
    require_images(dataset, "cam_left_wrist", 0)
    left = numbers(0, 20)
    np.testing.assert_allclose(dataset.state[:5], np.concatenate([left[:, :7], left[:, :7] + 50], axis=1))
    np.testing.assert_allclose(dataset.actions[:5], dataset.state[:5] + 1)
    assert dataset.info.features["action"].names[5:8] == ["left_joint_6", "left_gripper", "right_joint_1"]
    assert [episode.instruction for episode in dataset.episodes] == ["Beat block 0.", "Beat block 1."]
    assert read_paraphrases(tmp_path / "new/instructions.json", ["Beat block 1."])["Beat block 1."][-1] == "Hit it."
    convert(tmp_path / "raw", tmp_path / "poses", action="endpose")
    poses = LeRobotDataset(tmp_path / "poses").state[:5, :8]
    np.testing.assert_allclose(poses, np.concatenate([left[:, 7:14], left[:, 6:7]], axis=1))


@pytest.mark.parametrize("encoded", [False, True])
def test_aloha_has_raw_or_encoded_images(encoded, tmp_path):
    raw = write_aloha(tmp_path / "raw", encoded=encoded)
    assert main(["data", "convert", str(raw), "--from", "aloha", "--task", TASK, "--out", str(tmp_path / "new")]) == 0
    dataset = LeRobotDataset(tmp_path / "new")
    assert (dataset.fps, dataset.instructions, list(dataset.cameras)) == (50, (TASK,), ["cam_high", "cam_left_wrist"])
    require_images(dataset, "cam_high", 1)
    np.testing.assert_array_equal(dataset.state[5:], numbers(1, 14))
    np.testing.assert_array_equal(dataset.actions[5:], numbers(1, 14) + 1)
    assert dataset.info.features["action"].names[6:8] == ["left_gripper", "right_waist"]


def test_libero_s_images_are_turned_upright(tmp_path):
    assert convert(write_libero(tmp_path / "raw"), tmp_path / "new") == 2
    dataset = LeRobotDataset(tmp_path / "new")
    assert (dataset.fps, dataset.instructions) == (20, ("open the drawer",))
    assert list(dataset.cameras) == ["image", "wrist_image"]
    require_images(dataset, "image", 0)
    require_images(dataset, "wrist_image", 1)
    np.testing.assert_array_equal(dataset.actions[5:], numbers(1, 7))
    np.testing.assert_array_equal(dataset.state[5:], np.concatenate([numbers(1, 6), numbers(1, 2)], axis=1))


def test_red_and_blue_of_robotwin_s_images_follow_their_comment():
    image = make_image(1, 1)
    assert psnr(decode_jpeg(true_jpeg(image, b"XPL-RGB1")), image) > 25
    assert psnr(decode_jpeg(jpeg(image)), image) > 25  # written by a library that takes RGB for BGR


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Replaces a dataset of an HDF5 file by what `change` makes of its values."""

    def edit(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            values = change(file[name][()])
            del file[name]
            if values is not None:
                file[name] = values

    return edit


def huge(name: str, shape: tuple[int, ...], dtype: str) -> Callable[[Path], None]:
    """Declares a dataset of which nothing is stored."""

    def edit(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            file.create_dataset(name, shape, dtype, chunks=(1, *(min(side, 1000) for side in shape[1:])))

    return edit


HIGH = "observations/images/cam_high"
BAD_ALOHA: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:4000]), "damaged HDF5 file"),
    "no action": (changed("action", lambda _: None), "/action is missing"),
    "other length": (changed("action", lambda values: values[:-1]), "/action has 4 frames, /observations/qpos 5"),
    "nan": (changed("observations/qpos", lambda values: values * np.nan), "not finite"),
    "text": (changed("action", lambda values: [b"x"] * len(values)), "numbers are required"),
    "fewer images": (changed(HIGH, lambda images: images[:3]), f"/{HIGH} has 3 images for 5 frames"),
    "no image": (changed(HIGH, lambda images: np.zeros((5, 99), np.uint8)), f"/{HIGH}, frame 0: damaged image"),
    "huge image": (huge(HIGH, (5, 60_000, 60_000, 3), "u1"), f"/{HIGH} has images of 60000x60000 pixels"),
    "huge numbers": (huge("action", (5, 2**33), "f4"), "/action is larger than 16 GiB"),
    "odd size": (changed(HIGH, lambda images: images[:, :31]), "H.264 requires one even size"),
}


@pytest.mark.parametrize("name", BAD_ALOHA)
def test_a_defective_recording_is_one_line_and_leaves_nothing(name, tmp_path):
    damage, message = BAD_ALOHA[name]
    raw = write_aloha(tmp_path / "raw")
    damage(raw / "episode_0.hdf5")
    with pytest.raises(ValueError, match=f"episode_0.hdf5: .*{message}") as caught:
        convert(raw, tmp_path / "new", task=TASK)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (write_aloha, {}, "contain no instruction; give one with --task"),
        (write_aloha, {"task": TASK, "action": "endpose"}, "--action is for robotwin, this is aloha"),
        (write_libero, {"task": TASK}, "--task is for aloha, this is libero"),
        (write_libero, {"layout": "aloha", "task": TASK}, "has no episode_<number>.hdf5"),
        (write_aloha, {"layout": "libero"}, "has no .*_demo.hdf5 with demonstrations"),
    ],
)
def test_options_belong_to_layouts(write, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert(write(tmp_path / "raw"), tmp_path / "new", **options)
