"""Losses move the policy towards what good episodes did and away from what bad ones did."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from tiny import ACTION, CHUNK, STATE, WIDTH, model_config, queries

from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.flow_sde import sample_trajectory
from wla.models.trajectory import ActionEncoding
from wla.training import GRPOConfig, NFTConfig
from wla.training.rl.calls import Calls
from wla.training.rl.losses import anchor_loss, nft_loss, policy_gradient_loss

ROWS = 6


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def expert() -> ActionExpert:
    torch.manual_seed(0)
    return ActionExpert(model_config().action_expert, WIDTH)


def calls(advantage: float, *, success: bool = True) -> Calls:
    """Calls of the expert, all of episodes alike."""
    encoding = ActionEncoding(queries(ROWS), torch.randn(ROWS, STATE, generator=generator()), None)
    noise, step_noise = (torch.randn(ROWS, CHUNK, ACTION, generator=generator()) for _ in range(2))
    steps, numbers = torch.full((ROWS,), 3), torch.arange(ROWS) % 3
    with torch.no_grad():
        options = {"step": numbers, "step_noise": step_noise, "noise_level": 0.5}
        trajectory = sample_trajectory(expert(), encoding, noise, steps, **options)
    executed = torch.ones(ROWS, CHUNK, ACTION, dtype=torch.bool)
    return Calls(encoding, trajectory, executed, torch.full((ROWS,), advantage), torch.full((ROWS,), success), None)


def at_the_mean(batch: Calls) -> Calls:
    """Calls whose stochastic steps were the most likely ones."""
    return replace(batch, trajectory=replace(batch.trajectory, after=batch.trajectory.mean))


def value(loss: torch.Tensor) -> float:
    return loss.item()


def gradient(loss: torch.Tensor, network: ActionExpert) -> torch.Tensor:
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(network.parameters()))])


@pytest.mark.parametrize("kind", ["grpo", "nft"])
def test_good_and_bad_calls_pull_an_unchanged_policy_in_opposite_directions(kind):
    network, found = expert(), []
    for advantage in (1.0, -1.0):
        batch = calls(advantage)
        if kind == "grpo":
            terms = policy_gradient_loss(network, expert(), batch, GRPOConfig())
            assert terms["ratio"].item() == pytest.approx(1, abs=1e-5)
            assert terms["kl"].item() == pytest.approx(0, abs=1e-8)
        else:
            terms = nft_loss(network, expert(), expert(), batch, NFTConfig(), generator())
            assert terms["update_distance"].item() == 0
        found.append(gradient(terms["loss"], network))
    torch.testing.assert_close(found[0], -found[1], atol=1e-5, rtol=1e-4)
    assert found[0].abs().sum() > 0


def test_a_step_of_nft_brings_predictions_closer_to_good_chunks_and_further_from_bad_ones():
    before = value(anchor_loss(expert(), calls(1.0), generator()))
    for advantage, closer in ((1.0, True), (-1.0, False)):
        network = expert()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        nft_loss(network, expert(), expert(), calls(advantage), NFTConfig(), generator())["loss"].backward()
        optimizer.step()
        assert (value(anchor_loss(network, calls(1.0), generator())) < before) is closer


def test_a_drifted_policy_is_pulled_back_to_where_training_started():
    drifted = expert()
    with torch.no_grad():
        drifted.decoder[-1].bias += 0.5
    distances = []
    for weight in (0.0, 10.0):
        network = copy.deepcopy(drifted)
        for _ in range(5):
            optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
            optimizer.zero_grad()
            config = NFTConfig(reference_weight=weight)
            terms = nft_loss(network, expert(), drifted, calls(0.0), config, generator())
            terms["loss"].backward()
            optimizer.step()
        distances.append(terms["reference_distance"].item())
    assert distances[1] < 0.9 * distances[0]


def test_a_call_that_became_much_less_likely_is_pushed_no_further_but_can_come_back():
    network = expert()
    with torch.no_grad():
        network.decoder[-1].bias += 1.0  # far from what acted
    config = GRPOConfig(kl_weight=0.0)
    bad, good = (policy_gradient_loss(network, expert(), at_the_mean(calls(each)), config) for each in (-1.0, 1.0))
    assert bad["clip_fraction"].item() == 1
    assert not gradient(bad["loss"], network).any()
    assert gradient(good["loss"], network).any()


def test_the_anchor_is_on_successful_episodes_alone():
    assert value(anchor_loss(expert(), calls(1.0, success=False), generator())) == 0
    assert value(anchor_loss(expert(), calls(-1.0), generator())) > 0
