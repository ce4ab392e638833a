"""Flow matching, shared by both experts: paths from noise to data, their velocities, and how to follow them.

Time t runs from 0 (noise) to 1 (data) for actions. For images the field counts the other way, by noise level s = 1 - t,
and its velocity points from data to noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from wla.config import Config


class ActionTimeConfig(Config):
    """t = scale * (1 - Beta(alpha, beta)), rounded down to one of `buckets` levels: early times are trained more."""

    alpha: float = 1.5
    beta: float = 1.0
    scale: float = 0.999
    buckets: int = 1000


def sample_action_times(config: ActionTimeConfig, size: int, generator: torch.Generator | None) -> Float[Tensor, " B"]:
    """Training times. For beta = 1 the inverse of the Beta distribution function is u^(1/alpha)."""
    if config.beta != 1.0:
        raise ValueError(f"action times: beta must be 1.0 (the published value), got {config.beta}")
    uniform = torch.rand(size, generator=generator)
    return config.scale * (1 - uniform.pow(1 / config.alpha))


def sample_noise_levels(size: int, levels: int, shift: float, generator: torch.Generator | None) -> Float[Tensor, " B"]:
    """Training noise levels s in (0, 1], uniform over `levels` of them and then shifted.

    shift > 1 trains high levels more, s -> shift * s / (1 + (shift - 1) * s) as in Stable Diffusion 3 (Esser et al.
    2024): there it is decided what will be where, while at low levels the noisy image itself tells most of it.
    """
    s = (torch.randint(levels, (size,), generator=generator) + 1) / levels
    return shift * s / (1 + (shift - 1) * s)


def interpolate_to_data(
    noise: Float[Tensor, "B ..."], data: Float[Tensor, "B ..."], t: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B ..."], Float[Tensor, "B ..."]]:
    """The point at time t and its velocity data - noise."""
    t = t.view(-1, *[1] * (data.ndim - 1))
    return (1 - t) * noise + t * data, data - noise


def interpolate_to_noise(
    data: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."], s: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B ..."], Float[Tensor, "B ..."]]:
    """The point at noise level s and its velocity noise - data."""
    return interpolate_to_data(data, noise, s)


def euler(
    velocity: Callable[[Float[Tensor, "B ..."], Float[Tensor, " B"]], Float[Tensor, "B ..."]],
    noise: Float[Tensor, "B ..."],
    num_steps: int,
) -> Float[Tensor, "B ..."]:
    """Follow `velocity(x, t)` from noise (t = 0) to data (t = 1) in equal steps."""
    x = noise
    for step in range(num_steps):
        t = torch.full((x.shape[0],), step / num_steps, dtype=x.dtype, device=x.device)
        x = x + velocity(x, t) / num_steps
    return x
