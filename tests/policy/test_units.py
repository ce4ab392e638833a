"""Units and noise at the border between a policy and its model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.data.normalize import Statistics, VectorStatistics
from wla.models.experts.action_expert import ActionExpert
from wla.policy.wla_policy import WLAPolicy


def policy() -> WLAPolicy:
    statistics = Statistics(
        state=VectorStatistics(min=(-1.0, 0.0, 0.0), max=(3.0, 2.0, 4.0)),
        action=VectorStatistics(min=(0.0, -0.1), max=(0.08, 0.1)),
    )
    return WLAPolicy(replace(tiny.checkpoint(), statistics=statistics), name="tiny", checkpoint_sha256="0")


@pytest.mark.parametrize(("sampled", "actions"), [(0.5, (0.06, 0.05)), (-1.0, (0.0, -0.1)), (2.0, (0.1, 0.2))])
def test_sampled_actions_are_denormalised_and_clipped_to_the_robot_s_limits(monkeypatch, sampled, actions):
    monkeypatch.setattr(ActionExpert, "sample", lambda _, __, ___, noise, *____: torch.full_like(noise, sampled))
    acting = policy()
    chunk, _ = acting.act(tiny.observation(), acting.reset("press the button"))
    np.testing.assert_allclose(chunk.actions, np.tile(np.float32(actions), (tiny.CHUNK, 1)), atol=1e-6)


def test_the_model_receives_the_normalised_state(monkeypatch):
    states = []

    def sample(_, __, state, noise, *___):
        states.append(state)
        return noise

    monkeypatch.setattr(ActionExpert, "sample", sample)
    acting, observation = policy(), tiny.observation()
    acting.act(replace(observation, state=np.float32([3.0, 0.0, 3.0])), acting.reset("press the button"))
    np.testing.assert_allclose(states[0].cpu().numpy(), [[1.0, -1.0, 0.5]], atol=1e-6)


def test_the_noise_follows_from_the_seed_and_the_number_of_the_call():
    acting = policy()
    start = acting.reset("press the button", seed=3)
    states = [start, replace(start, num_calls=1), replace(start, seed=4)]
    chunks = [acting.act(tiny.observation(), state)[0].actions for state in (*states, *states)]
    for first, second in zip(chunks[:3], chunks[3:], strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({chunk.tobytes() for chunk in chunks}) == 3
