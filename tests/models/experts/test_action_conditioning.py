from __future__ import annotations

import math

import pytest
import torch
from tiny import ACTION, CHUNK, PROMPT, STATE, WIDTH

from wla.models.experts.action_conditioning import (
    ActionCondition,
    ActionConditioner,
    ChunkConditionConfig,
    MotionConfig,
    displacement,
    fourier_features,
)

MOTION = MotionConfig(state=(2, 0), action=(0, 1), gain=(0.5, 2.0), offset=(0.0, 0.25), num_frequencies=3)


def test_the_steps_that_are_told_add_up():
    actions, told = torch.zeros(1, CHUNK, ACTION), torch.zeros(1, CHUNK, 1)
    actions[0, 0, :2] = torch.tensor([1.0, -1.0])
    actions[0, 1, :2] = torch.tensor([1.0, 0.5])
    actions[0, 2:] = 9.0
    told[0, :2] = 1
    torch.testing.assert_close(displacement(MOTION, actions, told), torch.tensor([[1.0, 2 * -0.5 + 2 * 0.25]]))
    assert not displacement(MOTION, actions, torch.zeros_like(told)).any()


def test_a_wave_comes_back_after_its_length_and_half_of_it_is_told_apart():
    places = torch.tensor([[0.1], [2.1], [1.1], [0.6]])
    told = fourier_features(places, 2)
    assert told.shape == (4, 4)
    torch.testing.assert_close(told[0], told[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        told[0],
        torch.tensor([math.sin(p * 0.1 * math.pi) for p in (1, 2)] + [math.cos(p * 0.1 * math.pi) for p in (1, 2)]),
    )
    assert torch.isclose(told[2, 0], -told[0, 0])  # half of the longest wave
    assert torch.isclose(told[3, 1], -told[0, 1])  # half of the next


def test_ways_to_one_place_are_told_to_lead_there():
    torch.manual_seed(0)
    config = ChunkConditionConfig(action_dim=ACTION, state_dim=STATE, chunk=CHUNK, motion=MOTION)
    states, known = ActionConditioner(config, PROMPT.queries, WIDTH), torch.ones(1, CHUNK, dtype=torch.bool)
    seen = []
    states.mlp[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    early, late = torch.zeros(1, CHUNK, ACTION), torch.zeros(1, CHUNK, ACTION)
    early[0, 0, 0] = late[0, -1, 0] = 1.0
    for actions in (early, late):
        assert states(ActionCondition(actions, torch.full((1, STATE), 0.3)), known).shape == (1, PROMPT.queries, WIDTH)
    plain = CHUNK * (ACTION + 1) + STATE
    assert not torch.equal(seen[0][:, :plain], seen[1][:, :plain])
    torch.testing.assert_close(seen[0][:, plain:], seen[1][:, plain:])
    torch.testing.assert_close(seen[0][0, plain], torch.tensor(0.3 + 0.5))


@pytest.mark.parametrize("num_frequencies", [0, -1])
def test_waves_there_must_be(num_frequencies):
    with pytest.raises(ValueError, match="num_frequencies"):
        MotionConfig(state=(0,), action=(0,), gain=(1.0,), offset=(0.0,), num_frequencies=num_frequencies)
