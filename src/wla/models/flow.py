"""Flow matching, shared by both experts: straight paths between noise and data, their velocities, and Euler sampling.

Time t runs from 0 (noise) to 1 (data) for actions. Image models count the other way, by noise level s = 1 - t, and
their velocity points from data to noise. Lipman et al. 2022 (arXiv 2210.02747), Liu et al. 2022 (arXiv 2209.03003).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from wla.models.experts.configs import ActionTimeConfig
from wla.models.flow_times import shifted


def sample_action_times(config: ActionTimeConfig, size: int, generator: torch.Generator | None) -> Float[Tensor, " B"]:
    """Training times (size,). For beta = 1 the inverse of the Beta distribution function is p^(1/alpha).

    ValueError for another beta.
    """
    if config.beta != 1.0:
        raise ValueError(f"action times: beta must be 1.0 (the published value), got {config.beta}")
    uniform = torch.rand(size, generator=generator)
    return shifted(config.scale * (1 - uniform.pow(1 / config.alpha)), config.shift)


def sample_noise_levels(size: int, levels: int, shift: float, generator: torch.Generator | None) -> Float[Tensor, " B"]:
    """Training noise levels s in (0, 1], uniform over `levels` values and then shifted.

    shift > 1 samples high levels more often, s -> shift * s / (1 + (shift - 1) * s) as in Stable Diffusion 3 (Esser et
    al. 2024): they decide the layout of the image, which a less noisy input already shows.

    Args:
        size: number of samples.
        levels: number of distinct levels before the shift.
        shift: 1 for uniform levels.
        generator: source of randomness; None for torch's global one.
    """
    s = (torch.randint(levels, (size,), generator=generator) + 1) / levels
    return shift * s / (1 + (shift - 1) * s)


def interpolate_to_data(
    noise: Float[Tensor, "B ..."], data: Float[Tensor, "B ..."], t: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B ..."], Float[Tensor, "B ..."]]:
    """The point (1 - t) noise + t data at times t (B,), and its velocity data - noise."""
    t = t.view(-1, *[1] * (data.ndim - 1))
    return (1 - t) * noise + t * data, data - noise


def interpolate_to_noise(
    data: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."], s: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B ..."], Float[Tensor, "B ..."]]:
    """The point (1 - s) data + s noise at noise levels s (B,), and its velocity noise - data."""
    return interpolate_to_data(data, noise, s)


def euler(
    velocity: Callable[[Float[Tensor, "B ..."], float], Float[Tensor, "B ..."]],
    noise: Float[Tensor, "B ..."],
    times: Sequence[float],
) -> Float[Tensor, "B ..."]:
    """The end point of integrating `velocity(x, t)` from noise (t = 0) to data (t = 1) in the steps of `step_times`."""
    x = noise
    for begin, end in pairwise(times):
        x = x + velocity(x, begin) * (end - begin)
    return x


def stochastic_step(
    x: Float[Tensor, "B ..."],
    velocity: Float[Tensor, "B ..."],
    begin: Float[Tensor, " B"],
    end: Float[Tensor, " B"],
    noise_level: float,
) -> tuple[Float[Tensor, "B ..."], Float[Tensor, "B ..."]]:
    """Mean and standard deviation of the next point when a step of Euler is replaced by a stochastic one (Flow-SDE, Liu
    et al. 2025, arXiv 2505.05470). The more steps, the closer the distribution of the points to that of `euler`.

    begin, end: times of the step of each row. noise_level: 0 is a step of Euler.

    Returns:
        The mean, shaped as x, and the standard deviation (B, 1, ..).
    """
    size = (end - begin).to(x.dtype)
    noisy = 1 - begin.to(x.dtype)  # 1 is noise, 0 is data
    # At the very beginning the denominator would be 0: there it is that of the next step.
    sigma = noise_level * (noisy / torch.where(begin > 0, begin, end).to(x.dtype)).sqrt()
    std = sigma * size.sqrt()
    size, noisy, sigma, std = (each.view(-1, *[1] * (x.ndim - 1)) for each in (size, noisy, sigma, std))
    data, noise = x + noisy * velocity, x - (1 - noisy) * velocity
    left = noisy - size
    mean = (1 - left) * data + (left - sigma.square() * size / (2 * noisy)) * noise
    return mean, std
