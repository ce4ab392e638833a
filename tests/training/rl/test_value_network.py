"""Generalised advantage estimation, and the value network that PPO compares with."""

from __future__ import annotations

import pytest
import torch
from reach import recipe
from tiny import STATE, WIDTH, model_config, queries

from wla.models.experts.action_expert import ActionExpert
from wla.models.trajectory import ActionEncoding
from wla.policy.checkpoint import load_checkpoint
from wla.training import PPOConfig, SpeedRewardConfig, train
from wla.training.metrics import read_metrics
from wla.training.rl.value_network import ValueNetwork, estimate, generalized_advantages

ROWS = 5


def network() -> ValueNetwork:
    torch.manual_seed(0)
    return ValueNetwork(ActionExpert(model_config().action_expert, WIDTH))


def encoding() -> ActionEncoding:
    return ActionEncoding(queries(ROWS), torch.randn(ROWS, STATE, generator=torch.Generator().manual_seed(3)), None)


def test_with_lambda_one_an_advantage_is_the_discounted_reward_beyond_the_value():
    found = generalized_advantages([0.0, 0.0, 1.0], [0.5, 0.25, 0.0], discount=0.5, gae_lambda=1.0)
    assert found == pytest.approx([0.25 - 0.5, 0.5 - 0.25, 1.0])


def test_with_lambda_zero_an_advantage_is_the_surprise_of_the_next_call():
    found = generalized_advantages([0.0, 2.0, 1.0], [0.5, 0.25, 0.125], discount=0.5, gae_lambda=0.0)
    assert found == pytest.approx([0.125 - 0.5, 2 + 0.0625 - 0.25, 1 - 0.125])


def test_values_of_one_episode_do_not_reach_another():
    config, value = PPOConfig(gae_lambda=0.0, discount=1.0), network()
    torch.nn.init.normal_(value.out.weight)
    found = estimate(value, encoding(), [[0.0, 0.0], [0.0, 0.0, 7.0]], config)
    assert found.values.std() > 0
    expected = [found.values[1], 0.0, found.values[3], found.values[4], 7.0]
    torch.testing.assert_close(found.returns, torch.tensor([float(each) for each in expected]))


def test_a_network_learns_which_states_are_worth_more():
    value, returns = network(), torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0])
    optimizer = torch.optim.AdamW(value.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        (value(encoding()) - returns).square().mean().backward()
        optimizer.step()
    assert (value(encoding()) - returns).abs().max() < 0.1


def test_a_run_learns_values_and_leaves_none_in_the_checkpoint(tmp_path):
    config = recipe(tmp_path, 12, objective=PPOConfig(kl_weight=0.0))
    checkpoint = train(config.build(), config.loop, tmp_path / "run")
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert rows[-1]["value_mean"] < rows[0]["value_mean"] == 0, "rewards are negative"
    assert {"value", "explained_variance", "ratio", "kl"} <= rows[0].keys()
    assert not [name for name in load_checkpoint(checkpoint).model.state_dict() if "value" in name.split(".")[0]]


def test_a_reward_for_few_steps_needs_groups(tmp_path):
    with pytest.raises(ValueError, match="few steps are rewarded within groups"):
        recipe(tmp_path, 1, objective=PPOConfig(), speed=SpeedRewardConfig())
