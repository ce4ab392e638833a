from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch

from wla.data.lerobot.reader import LeRobotDataset
from wla.models.configs import InverseConfig
from wla.models.inverse_dynamics import InverseDynamics
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


def test_inputs_are_the_following_frames_without_those_of_the_next_episode(dataset):
    images = inverse().load_images(dataset, np.array([0, 8, 9, 10]))
    front = torch.from_numpy(np.array(dataset.frames("front")))
    assert {camera: tuple(frames.shape) for camera, frames in images.items()} == {
        "front": (4, 3, 32, 32, 3),
        "wrist": (4, 3, 16, 16, 3),
    }
    for row, indices in enumerate(((0, 1, 2), (8, 9, 9), (9, 9, 9), (10, 11, 12))):
        assert torch.equal(images["front"][row], front[list(indices)])


def test_actions_are_clipped_to_the_range_of_the_training_actions(dataset):
    checkpoint = inverse()
    with torch.no_grad():
        checkpoint.model.head[-1].bias.fill_(5.0)
    action = checkpoint.config.action
    actions = checkpoint.actions(checkpoint.load_images(dataset, np.arange(3)))
    np.testing.assert_allclose(actions, np.tile(action.max, (3, 1)), rtol=1e-6)


def test_a_constant_dimension_is_not_scaled():
    still = inverse()
    action = still.config.action.replace(std=(0.0, *[2.0] * (tiny.ACTION - 1)))
    still = InverseCheckpoint(still.config.replace(action=action), still.model)
    one = np.ones((1, tiny.ACTION), np.float32)
    assert still.standardize(one)[0].tolist() == [1.0, *[0.5] * (tiny.ACTION - 1)]


def test_a_saved_model_gives_the_same_actions(dataset, tmp_path):
    first = inverse()
    first.save(tmp_path / "inverse")
    loaded = load_inverse(tmp_path / "inverse")
    assert loaded.config == first.config
    images = first.load_images(dataset, np.arange(4))
    np.testing.assert_array_equal(loaded.actions(images), first.actions(images))
    with pytest.raises(ValueError, match="no inverse dynamics model"):
        load_inverse(tmp_path)
