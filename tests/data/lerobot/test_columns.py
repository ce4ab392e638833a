"""Datasets whose columns have other names, and robots that the user gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_datasets import image, psnr
from test_reader import edit_info, edit_table
from toy_robot import robot

from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import LeRobotDataset

THEIRS = {"observation.state": "qpos", "action": "target"}
COLUMNS = Columns(state="qpos", action="target", cameras={"front": "cam_high"})


@pytest.fixture
def foreign(root: Path) -> Path:
    """State and action have other names, and the front camera is called cam_high."""
    (root / "meta/wla_robot.json").unlink()
    (root / "videos/observation.images.front").rename(root / "videos/observation.images.cam_high")

    def rename(table: pa.Table) -> pa.Table:
        names = [THEIRS.get(name, name.replace("images.front", "images.cam_high")) for name in table.column_names]
        return table.rename_columns(names)

    for path in [*root.glob("data/*/*.parquet"), *root.glob("meta/episodes/*/*.parquet")]:
        edit_table(path, rename)

    def change(info: dict) -> None:
        features = info["features"]
        for ours, theirs in (THEIRS | {"observation.images.front": "observation.images.cam_high"}).items():
            features[theirs] = features.pop(ours)

    edit_info(root, change)
    return root


def test_columns_and_cameras_are_read_under_other_names(foreign, pristine):
    dataset, original = LeRobotDataset(foreign, columns=COLUMNS), LeRobotDataset(pristine)
    np.testing.assert_array_equal(dataset.state, original.state)
    np.testing.assert_array_equal(dataset.actions, original.actions)
    assert list(dataset.cameras) == ["front", "wrist"]
    assert psnr(dataset.frames("front")[13], image(1, 3)) > 30
    full = Columns(state="qpos", cameras={"front": "observation.images.cam_high"})
    without = LeRobotDataset(foreign, columns=full)
    assert without.actions is None
    assert without.cameras == dataset.cameras


def test_a_renamed_camera_is_decoded_once(foreign):
    LeRobotDataset(foreign, columns=COLUMNS).frames("front")
    (cache,) = (foreign / ".cache").iterdir()
    LeRobotDataset(foreign, columns=Columns(state="qpos")).frames("cam_high")
    assert list((foreign / ".cache").iterdir()) == [cache]


def test_the_given_robot_is_the_dataset_s_robot(foreign):
    assert LeRobotDataset(foreign, columns=COLUMNS).robot_spec is None
    assert LeRobotDataset(foreign, columns=COLUMNS, robot=robot()).robot_spec == robot()


def test_a_given_robot_must_equal_the_dataset_s_own(root):
    assert LeRobotDataset(root, robot=robot()).robot_spec == robot()
    with pytest.raises(ValueError, match=r"d and the given robot are for different robots: embodiment is 'toy' in"):
        LeRobotDataset(root, robot=robot("other"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (robot(state_dim=2), r"'qpos' has shape \(3,\) and the given robot 'toy' has \(2,\); give the robot of this"),
        (robot(action_dim=1), r"'target' has shape \(2,\) and the given robot 'toy' has \(1,\)"),
        (robot(size=(32, 32)), r"'observation.images.cam_high' has shape \(32, 48, 3\) and the given robot 'toy' has"),
        (
            robot().replace(action=robot().action.replace(rate_hz=30.0)),
            "fps is 10 and the given robot 'toy' has 30 Hz",
        ),
        (
            robot().replace(observation=robot().observation.replace(cameras={"top": (32, 48)})),
            "camera 'top' is missing, the given robot 'toy' has it",
        ),
    ],
)
def test_a_dataset_of_a_different_robot_is_refused(other, message, foreign):
    with pytest.raises(ValueError, match=message) as caught:
        LeRobotDataset(foreign, columns=COLUMNS, robot=other)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            Columns(),
            r"feature 'observation.state' is missing; the dataset has \['qpos', 'target'\]; name the columns that are "
            r"the state, or none \(`--state`, `columns.state`\)",
        ),
        (Columns(state="q"), r"feature 'q' is missing; the dataset has .*; name the column that holds it"),
        (Columns(state="qpos", action="a"), r"feature 'a' is missing; the dataset has"),
        (
            Columns(state="qpos", cameras={"front": "cam_low"}),
            r"no feature 'cam_low' for camera 'front'; the dataset has \['wrist', 'cam_high'\]",
        ),
        (Columns(state="qpos", cameras={"front": "qpos"}), "no feature 'qpos' for camera 'front'"),
        (Columns(state="qpos", cameras={"wrist": "cam_high"}), "has a camera 'wrist' already; rename that one too"),
    ],
)
def test_absent_columns_are_refused(columns, message, foreign):
    with pytest.raises(ValueError, match=message):
        LeRobotDataset(foreign, columns=columns)


def test_cameras_can_be_swapped(root):
    swapped = LeRobotDataset(root, columns=Columns(cameras={"front": "wrist", "wrist": "front"}))
    original = LeRobotDataset(root)
    np.testing.assert_array_equal(swapped.frames("front"), original.frames("wrist"))
    np.testing.assert_array_equal(swapped.frames("wrist"), original.frames("front"))


def test_images_with_channels_first_are_compared_by_size(foreign):
    edit_info(foreign, lambda info: info["features"]["observation.images.cam_high"].update(shape=[3, 32, 48]))
    assert LeRobotDataset(foreign, columns=COLUMNS, robot=robot()).cameras["front"] == (32, 48)


def test_a_state_with_different_dimensions_in_the_data_is_refused(foreign):
    path = next(foreign.glob("data/*/*.parquet"))
    assert pq.read_schema(path).field("qpos").type.list_size == 3
    edit_info(foreign, lambda info: info["features"]["qpos"].update(shape=[4]))
    with pytest.raises(ValueError, match=r"'qpos' does not have \(4,\) numbers in every frame"):
        LeRobotDataset(foreign, columns=COLUMNS)
