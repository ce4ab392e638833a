from __future__ import annotations

import math

import pytest
import torch
from tiny import ACTION, CHUNK, PROMPT, STATE, WIDTH

from wla.models.experts.action_conditioning import ActionCondition, ActionConditioner, displacement, fourier_features
from wla.models.experts.configs import ChunkConditionConfig, MotionConfig

MOTION = MotionConfig(state=(2, 0), action=(0, 1), gain=(0.5, 2.0), offset=(0.0, 0.25), num_frequencies=3)


def test_displacement_sums_the_unmasked_steps():
    actions, mask = torch.zeros(1, CHUNK, ACTION), torch.zeros(1, CHUNK, 1)
    actions[0, 0, :2] = torch.tensor([1.0, -1.0])
    actions[0, 1, :2] = torch.tensor([1.0, 0.5])
    actions[0, 2:] = 9.0
    mask[0, :2] = 1
    torch.testing.assert_close(displacement(MOTION, actions, mask), torch.tensor([[1.0, 2 * -0.5 + 2 * 0.25]]))
    assert not displacement(MOTION, actions, torch.zeros_like(mask)).any()


def test_fourier_features_repeat_after_a_wavelength_and_change_sign_after_half():
    positions = torch.tensor([[0.1], [2.1], [1.1], [0.6]])
    features = fourier_features(positions, 2)
    assert features.shape == (4, 4)
    torch.testing.assert_close(features[0], features[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        features[0],
        torch.tensor([math.sin(p * 0.1 * math.pi) for p in (1, 2)] + [math.cos(p * 0.1 * math.pi) for p in (1, 2)]),
    )
    assert torch.isclose(features[2, 0], -features[0, 0])  # half of the longest wavelength
    assert torch.isclose(features[3, 1], -features[0, 1])  # half of the next


def test_actions_with_the_same_displacement_give_the_same_end_position():
    torch.manual_seed(0)
    config = ChunkConditionConfig(action_dim=ACTION, state_dim=STATE, chunk=CHUNK, motion=MOTION)
    conditioner, mask = ActionConditioner(config, PROMPT.queries, WIDTH), torch.ones(1, CHUNK, dtype=torch.bool)
    inputs = []
    conditioner.mlp[0].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    early, late = torch.zeros(1, CHUNK, ACTION), torch.zeros(1, CHUNK, ACTION)
    early[0, 0, 0] = late[0, -1, 0] = 1.0
    for actions in (early, late):
        states = conditioner(ActionCondition(actions, torch.full((1, STATE), 0.3)), mask)
        assert states.shape == (1, PROMPT.queries, WIDTH)
    motion = CHUNK * (ACTION + 1) + STATE  # index of the first input from the model of motion
    assert not torch.equal(inputs[0][:, :motion], inputs[1][:, :motion])
    torch.testing.assert_close(inputs[0][:, motion:], inputs[1][:, motion:])
    torch.testing.assert_close(inputs[0][0, motion], torch.tensor(0.3 + 0.5))


@pytest.mark.parametrize("num_frequencies", [0, -1])
def test_a_model_of_motion_without_frequencies_is_refused(num_frequencies):
    with pytest.raises(ValueError, match="num_frequencies"):
        MotionConfig(state=(0,), action=(0,), gain=(1.0,), offset=(0.0,), num_frequencies=num_frequencies)
