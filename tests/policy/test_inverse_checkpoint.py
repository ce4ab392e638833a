from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from wla.data.lerobot.reader import LeRobotDataset
from wla.models.inverse_dynamics import InverseConfig, InverseDynamics
from wla.policy.inverse_checkpoint import InverseCheckpoint, InverseCheckpointConfig, load_inverse


def inverse() -> InverseCheckpoint:
    torch.manual_seed(0)
    sizes = InverseConfig(
        cameras={"front": 32, "wrist": 16}, action_dim=tiny.ACTION, channels=(8, 8), num_keypoints=4, width=16
    )
    action = tiny.statistics().action
    assert action is not None
    return InverseCheckpoint(
        InverseCheckpointConfig(model=sizes, action=action, robot=tiny.robot_spec()), InverseDynamics(sizes).eval()
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> LeRobotDataset:
    return LeRobotDataset(tiny.write_dataset(tmp_path_factory.mktemp("inverse") / "data"))


def test_it_sees_the_frames_that_follow_and_none_of_the_next_episode(dataset):
    looks = inverse().load_images(dataset, np.array([0, 8, 9, 10]))
    front = torch.from_numpy(np.array(dataset.frames("front")))
    assert {camera: tuple(look.shape) for camera, look in looks.items()} == {
        "front": (4, 3, 32, 32, 3),
        "wrist": (4, 3, 16, 16, 3),
    }
    for row, places in enumerate(((0, 1, 2), (8, 9, 9), (9, 9, 9), (10, 11, 12))):
        assert torch.equal(looks["front"][row], front[list(places)])


def test_actions_stay_in_the_range_that_it_learned_from(dataset):
    wild = inverse()
    with torch.no_grad():
        wild.model.head[-1].bias.fill_(5.0)
    action = wild.config.action
    found = wild.actions(wild.load_images(dataset, np.arange(3)))
    np.testing.assert_allclose(found, np.tile(action.max, (3, 1)), rtol=1e-6)


def test_a_dimension_that_never_changed_is_left_as_it_is():
    still = inverse()
    action = still.config.action.replace(std=(0.0, *[2.0] * (tiny.ACTION - 1)))
    still = InverseCheckpoint(still.config.replace(action=action), still.model)
    one = np.ones((1, tiny.ACTION), np.float32)
    assert still.standardize(one)[0].tolist() == [1.0, *[0.5] * (tiny.ACTION - 1)]


def test_it_comes_back_from_its_folder(dataset, tmp_path):
    first = inverse()
    first.save(tmp_path / "inverse")
    again = load_inverse(tmp_path / "inverse")
    assert again.config == first.config
    looks = first.load_images(dataset, np.arange(4))
    np.testing.assert_array_equal(again.actions(looks), first.actions(looks))
    with pytest.raises(ValueError, match="no inverse dynamics model"):
        load_inverse(tmp_path)
