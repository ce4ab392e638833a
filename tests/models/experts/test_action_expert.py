from __future__ import annotations

import torch
from tiny import ACTION, CHUNK, STATE, WIDTH, model_config, queries

from wla.models.experts.action_expert import ActionExpert


def test_only_the_layers_of_cross_attention_blocks_condition_the_actions():
    torch.manual_seed(0)
    expert = ActionExpert(model_config().action_expert, WIDTH).eval()
    noise, state = torch.randn(2, CHUNK, ACTION), torch.randn(2, STATE)
    states = queries(2)
    base = expert.sample(states, state, noise)
    assert base.shape == (2, CHUNK, ACTION)
    torch.testing.assert_close(expert.sample([states[0], states[1] + 1], state, noise), base)
    assert not torch.allclose(expert.sample([states[0] + 1, states[1]], state, noise), base)
    assert not torch.allclose(expert.sample(states, state + 1, noise), base)


def test_the_loss_with_several_noise_samples_equals_that_of_a_repeated_batch():
    torch.manual_seed(0)
    config = model_config().action_expert
    expert = ActionExpert(config, WIDTH)
    once = ActionExpert(config.replace(noise_samples_per_chunk=1), WIDTH)
    once.load_state_dict(expert.state_dict())
    states, state = queries(3), torch.randn(3, STATE)
    actions, mask = torch.randn(3, CHUNK, ACTION), torch.ones(3, CHUNK, ACTION, dtype=torch.bool)
    twice = [x.repeat(2, 1, 1) for x in states]
    expected = once.loss(
        twice, state.repeat(2, 1), actions.repeat(2, 1, 1), mask.repeat(2, 1, 1), torch.Generator().manual_seed(5)
    )
    loss = expert.loss(states, state, actions, mask, torch.Generator().manual_seed(5))
    torch.testing.assert_close(loss, expected)


def test_several_noise_samples_give_the_actions_that_each_gives_alone():
    torch.manual_seed(0)
    expert = ActionExpert(model_config().action_expert, WIDTH).eval()
    states, state, noise = queries(2), torch.randn(2, STATE), torch.randn(6, CHUNK, ACTION)
    with torch.no_grad():
        together = expert.sample(states, state, noise)
        alone = [expert.sample(states, state, rows) for rows in noise.split(2)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_an_expert_with_fewer_blocks_uses_the_last_layers():
    torch.manual_seed(0)
    expert = ActionExpert(model_config().action_expert, WIDTH).eval()
    states, noise = queries(2, layers=4), torch.randn(2, CHUNK, ACTION)
    with torch.no_grad():
        actions = expert.sample(states, torch.zeros(2, STATE), noise)
        expected = expert.sample(states[-2:], torch.zeros(2, STATE), noise)
    assert torch.equal(actions, expected)
