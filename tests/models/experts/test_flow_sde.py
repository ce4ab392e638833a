"""Flow-SDE: the stochastic step leaves the distribution of the flow as it is, and its log-probability is exact."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import ACTION, CHUNK, STATE, WIDTH, model_config, queries

from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.configs import OneStepConfig
from wla.models.experts.flow_sde import executed_mask, log_density, sample_trajectory, step_distribution
from wla.models.flow import stochastic_step
from wla.models.trajectory import ActionEncoding, Trajectory

ROWS = 6


def expert(**changes: object) -> ActionExpert:
    torch.manual_seed(0)
    return ActionExpert(model_config().action_expert.replace(**changes), WIDTH).eval()


def encoding(dims: torch.Tensor | None = None) -> ActionEncoding:
    return ActionEncoding(queries(ROWS), torch.randn(ROWS, STATE, generator=torch.Generator().manual_seed(1)), dims)


def sampled(
    network: ActionExpert, num_steps: int, noise_level: float = 0.5, dims: torch.Tensor | None = None
) -> Trajectory:
    generator = torch.Generator().manual_seed(2)
    noise, step_noise = (torch.randn(ROWS, CHUNK, ACTION, generator=generator) for _ in range(2))
    step = torch.arange(ROWS) % num_steps
    with torch.no_grad():
        return sample_trajectory(
            network,
            encoding(dims),
            noise,
            torch.full((ROWS,), num_steps),
            step=step,
            step_noise=step_noise,
            noise_level=noise_level,
        )


def gaussian_end(num_steps: int, noise_level: float) -> tuple[float, float]:
    """Mean and standard deviation at the end of the flow whose data are normal with mean 2 and deviation 0.5."""
    mu, sigma, mean, variance = 2.0, 0.5, 0.0, 1.0
    for number in range(num_steps):
        t = number / num_steps
        at = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        # The velocity of a normal distribution is linear in x.
        scale = (t * sigma**2 - (1 - t)) / (t**2 * sigma**2 + (1 - t) ** 2)
        velocity = mu + scale * (at - t * mu)
        times = (torch.full((2,), time / num_steps, dtype=torch.float64) for time in (number, number + 1))
        (offset, end), std = (x.flatten() for x in stochastic_step(at, velocity, *times, noise_level))
        slope = float(end - offset)
        mean, variance = float(offset) + slope * mean, slope**2 * variance + float(std[0]) ** 2
    return mean, math.sqrt(variance)


def test_the_marginal_of_the_stochastic_flow_is_that_of_the_flow():
    errors = []
    for num_steps in (40, 400):
        (mean, std), (ode_mean, ode_std) = gaussian_end(num_steps, 0.5), gaussian_end(num_steps, 0.0)
        errors.append(abs(mean - ode_mean) + abs(std - ode_std))
    assert errors[0] < 0.05
    assert errors[1] < 0.5 * errors[0], "the difference falls with the size of the steps"
    assert (mean, std) == pytest.approx((2.0, 0.5), abs=1e-2)


@pytest.mark.parametrize(("num_steps", "shift"), [(1, 1.0), (3, 1.0), (3, 0.5)])
def test_without_noise_a_trajectory_ends_where_sampling_does(num_steps, shift):
    network = expert(one_step=OneStepConfig(), sampling_shift=shift)
    torch.nn.init.normal_(network.one_step)
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(ROWS, CHUNK, ACTION, generator=generator)
    with torch.no_grad():
        expected = network.sample(queries(ROWS), encoding().proprio, noise, num_steps)
    assert torch.equal(sampled(network, num_steps, 0.0).actions, expected)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_the_ratio_of_an_unchanged_policy_is_one_in_batches_of_any_size(num_steps):
    network = expert(one_step=OneStepConfig())
    torch.nn.init.normal_(network.one_step)
    trajectory, executed = sampled(network, num_steps), torch.tensor([4, 3, 2, 1, 4, 4])
    mask = executed_mask(encoding(), trajectory, executed)
    for rows in torch.arange(ROWS).split(4):
        part, kept = trajectory.rows(rows), mask[rows]
        mean, std = step_distribution(network, encoding().rows(rows), part, 0.5)
        ratio = (log_density(part.after, mean, std, kept) - log_density(part.after, part.mean, std, kept)).exp()
        torch.testing.assert_close(ratio, torch.ones(len(rows)), atol=1e-5, rtol=0)


def test_the_log_probability_is_that_of_the_executed_numbers_alone():
    network, dims = expert(), torch.full((ROWS,), 1)
    trajectory, executed = sampled(network, 3, dims=dims), torch.tensor([4, 3, 2, 1, 4, 4])
    with torch.no_grad():
        mean, std = step_distribution(network, encoding(dims), trajectory, 0.5)
    found = log_density(trajectory.after, mean, std, executed_mask(encoding(dims), trajectory, executed))
    for row, steps in enumerate(executed.tolist()):
        normal = torch.distributions.Normal(mean[row, :steps, :1], std[row])
        torch.testing.assert_close(found[row], normal.log_prob(trajectory.after[row, :steps, :1]).sum())


def test_the_gradient_of_the_log_probability_reaches_every_trained_weight():
    network = expert()
    trajectory = sampled(network, 3)
    mean, std = step_distribution(network, encoding(), trajectory, 0.5)
    mask = executed_mask(encoding(), trajectory, torch.full((ROWS,), CHUNK))
    log_density(trajectory.after, mean, std, mask).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in network.parameters())
