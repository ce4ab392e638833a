from __future__ import annotations

import pytest
import torch

from wla.models.experts.configs import ActionTimeConfig
from wla.models.flow import euler, interpolate_to_data, interpolate_to_noise, sample_action_times, sample_noise_levels
from wla.models.flow_times import step_times


def test_paths_reach_their_ends_and_move_with_their_velocity():
    noise, data = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    for t, expected in ((0.0, noise), (1.0, data)):
        x, _ = interpolate_to_data(noise, data, torch.full((2,), t))
        torch.testing.assert_close(x, expected)
    x, velocity = interpolate_to_data(noise, data, torch.tensor([0.25, 0.5]))
    later, _ = interpolate_to_data(noise, data, torch.tensor([0.35, 0.6]))
    torch.testing.assert_close(x + 0.1 * velocity, later)
    x, velocity = interpolate_to_noise(data, noise, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(x, torch.stack([data[0], noise[1]]))
    torch.testing.assert_close(velocity, noise - data)


@pytest.mark.parametrize("steps", [1, 5])
def test_euler_is_exact_on_straight_paths(steps):
    noise, data = torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(euler(lambda x, t: data - noise, noise, step_times(steps)), data)


def test_euler_evaluates_velocities_at_the_beginning_of_each_step():
    end = euler(lambda x, t: torch.full_like(x, t), torch.zeros(2, 3), step_times(4))
    torch.testing.assert_close(end, torch.full((2, 3), (0 + 1 + 2 + 3) / 4 / 4))


def test_action_times_are_denser_near_noise():
    times = sample_action_times(ActionTimeConfig(), 20_000, torch.Generator().manual_seed(0))
    # 0.999 (1 - Beta(1.5, 1)) has mean 0.999 * 0.4.
    assert times.min() >= 0
    assert times.max() < 0.999
    assert abs(times.mean() - 0.3996) < 0.01


def test_other_time_distributions_are_refused():
    with pytest.raises(ValueError, match="beta must be 1"):
        sample_action_times(ActionTimeConfig(beta=2.0), 1, None)


def test_noise_levels_are_uniform_without_shift_and_higher_with_it():
    uniform, shifted = (
        sample_noise_levels(5000, 1000, shift, torch.Generator().manual_seed(0)) for shift in (1.0, 4.0)
    )
    assert uniform.min() > 0
    assert uniform.max() <= 1
    assert abs(float(uniform.mean()) - 0.5) < 0.02
    # The same random numbers, each shifted up; the mean of 4s / (1 + 3s) over 0..1 is (4/3) (1 - ln 4 / 3).
    assert (shifted >= uniform).all()
    assert shifted.max() <= 1
    assert abs(float(shifted.mean()) - 0.717) < 0.02


def test_a_shift_moves_times_towards_noise_by_the_published_formula():
    config = ActionTimeConfig(alpha=1.0, scale=1.0)
    uniform, shifted = (
        sample_action_times(each, 20_000, torch.Generator().manual_seed(0))
        for each in (config, config.replace(shift=4))
    )
    torch.testing.assert_close(shifted, uniform / (1 + 3 * (1 - uniform)))
    # The mean of u / (4 - 3 u) over 0 .. 1 is (4 ln 4 / 3 - 1) / 3.
    assert abs(shifted.mean() - 0.2828) < 0.01


def test_steps_are_equally_long_unless_their_times_are_shifted():
    assert step_times(4) == [0, 0.25, 0.5, 0.75, 1]
    begin, *later, end = step_times(4, 0.5)
    assert (begin, end) == (0, 1)
    # Noise levels 3/4, 1/2, 1/4 become s / (2 - s).
    assert later == pytest.approx([1 - 3 / 5, 1 - 1 / 3, 1 - 1 / 7])


def test_shifted_steps_are_integrated_as_long_as_they_are():
    end = euler(lambda x, t: torch.full_like(x, t), torch.zeros(1, 1), step_times(2, 0.5))
    torch.testing.assert_close(end, torch.full((1, 1), 2 / 3 * 1 / 3))
