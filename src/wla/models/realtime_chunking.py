"""Real-time chunking: the new chunk begins with actions of the old one that are executed while it is computed.

Trained (arXiv 2512.05964): the first actions of a chunk are given, clean, at a time of their own, and the network was
trained to continue them. Guided (arXiv 2506.07339): any flow is pulled towards what remains of the old chunk, by
weights that fall from 1 where actions will be executed to 0 where the old chunk ends. Time runs from 0 (noise) to 1
(data).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wla.models.flow import euler
from wla.runtime import upload

CLEAN = 1.0
"""Time of given actions; training times stay below it."""
Velocity = Callable[[Float[Tensor, "R n A"], float], Float[Tensor, "R n A"]]
"""Velocity of chunks that are all at the same time."""
VelocityAfter = Callable[[Float[Tensor, "R n A"], float, int], Float[Tensor, "R n A"]]
"""Velocity of chunks that are all at the same time, but for the first actions, which are given."""


def sample_delays(max_delay: int, size: int, generator: torch.Generator | None) -> Int64[Tensor, " R"]:
    """Training delays, uniform over 0 .. max_delay."""
    return torch.randint(max_delay + 1, (size,), generator=generator)


def sample_prefix_errors(
    scale: float, like: Float[Tensor, "R n A"], generator: torch.Generator | None
) -> Float[Tensor, "R n A"]:
    """Errors of given actions in training, normal, with a standard deviation of each row's own from 0 to `scale`."""
    rows = scale * torch.rand(len(like), 1, 1, generator=generator)
    return (rows * torch.randn(like.shape, generator=generator)).to(like)


def with_given(
    x: Float[Tensor, "R n A"], t: Float[Tensor, " R"], actions: Float[Tensor, "R n A"], delays: Int64[Tensor, " R"]
) -> tuple[Float[Tensor, "R n A"], Float[Tensor, "R n"]]:
    """Noisy chunks whose first `delays` actions are the clean ones, and the time of every action."""
    given = torch.arange(x.shape[1], device=x.device) < upload(delays, x.device)[:, None]
    return torch.where(given[..., None], actions, x), torch.where(given, CLEAN, t[:, None])


def disturbed(
    actions: Float[Tensor, "R n A"],
    delays: Int64[Tensor, " R"],
    noise: Float[Tensor, "R n A"],
    delta_dims: Sequence[int],
) -> Float[Tensor, "R n A"]:
    """Chunks whose first `delays` actions have these errors, and whose others make up for them.

    An old chunk's actions seldom are those that the new one would begin with, as they are in recordings; a network
    that has seen no others continues them as if they were. In dimensions that are deltas, the following actions lead to
    the place of the undisturbed chunk as soon as the range of these actions allows; in others they stay. Units are
    normalised ones.
    """
    low, high = actions.amin((0, 1)), actions.amax((0, 1))
    given = (torch.arange(actions.shape[1], device=actions.device) < delays.to(actions.device)[:, None])[..., None]
    is_delta = torch.zeros(actions.shape[-1], dtype=torch.bool, device=actions.device)
    is_delta[list(delta_dims)] = True
    wrong = torch.where(given, (actions + noise).clamp(low, high), actions)
    offset, rows = torch.zeros_like(actions[:, 0]), []
    for index in range(actions.shape[1]):
        reached = torch.where(is_delta, (actions[:, index] - offset).clamp(low, high), actions[:, index])
        rows.append(torch.where(given[:, index], wrong[:, index], reached))
        offset = torch.where(is_delta, offset + rows[-1] - actions[:, index], 0)
    return torch.stack(rows, dim=1)


def integrate(
    velocity: VelocityAfter,
    noise: Float[Tensor, "R n A"],
    times: Sequence[float],
    prefix: Float[Tensor, "R p A"] | None,
    delay: int,
    *,
    trained: bool,
) -> Float[Tensor, "R n A"]:
    """The chunks at the end of a flow from noise, those that continue a prefix among them.

    times: see `euler`. delay: number of actions of `prefix`, what remains of the old chunk, that will have been
    executed. trained: whether the network was trained to continue given actions, or is guided.
    """

    def free(x: Float[Tensor, "R n A"], t: float) -> Float[Tensor, "R n A"]:
        return velocity(x, t, 0)

    if prefix is None:
        return euler(free, noise, times)
    if not trained:
        return euler(guided(free, prefix, noise, delay, len(times) - 1), noise, times)
    return euler(*continued(velocity, prefix[:, :delay], noise), times)


def continued(
    velocity: VelocityAfter, prefix: Float[Tensor, "R d A"], noise: Float[Tensor, "R n A"]
) -> tuple[Velocity, Float[Tensor, "R n A"]]:
    """Velocity and noise with which sampling leaves the first d actions at `prefix`, for a network trained for that."""
    delay = prefix.shape[1]

    def velocity_of_rest(x: Float[Tensor, "R n A"], t: float) -> Float[Tensor, "R n A"]:
        moved = velocity(x, t, delay)
        return torch.cat([torch.zeros_like(moved[:, :delay]), moved[:, delay:]], dim=1)

    return velocity_of_rest, torch.cat([prefix, noise[:, delay:]], dim=1)


def times_after(given: int, t: float, length: int) -> Float[Tensor, " n"]:
    """Times of a chunk's actions, of which the first are given."""
    times = torch.full((length,), t)
    times[:given] = CLEAN
    return times


def guided(
    velocity: Velocity, prefix: Float[Tensor, "R p A"], noise: Float[Tensor, "R n A"], delay: int, num_steps: int
) -> Velocity:
    """A velocity of chunks like `noise` that is pulled towards `prefix`, what remains of the old chunk, whose first
    `delay` actions will have been executed.

    The pull is at most `num_steps`. The network's Jacobian is left out: with it users report divergence.
    """
    length, remaining = noise.shape[1], prefix.shape[1]
    weights = upload(guidance_weights(length, remaining, delay).to(noise.dtype), noise.device)[:, None]
    target = nn.functional.pad(prefix, (0, 0, 0, length - remaining))

    def pulled(x: Float[Tensor, "R n A"], t: float) -> Float[Tensor, "R n A"]:
        moved = velocity(x, t)
        end = x + (1 - t) * moved
        return moved + _strength(t, num_steps) * weights * (target - end)

    return pulled


def guidance_weights(length: int, remaining: int, delay: int) -> Float[Tensor, " n"]:
    """Weights of a chunk's actions: 1 for the first `delay`, falling to 0 where the `remaining` ones end."""
    index = torch.arange(length, dtype=torch.float64)
    falling = (remaining - index) / (remaining - delay + 1)
    soft = falling * torch.expm1(falling) / (math.e - 1)
    weights = torch.where(index < delay, 1.0, soft)
    return torch.where(index < remaining, weights, 0.0)


def _strength(t: float, limit: int) -> float:
    """min(limit, (1 - t) / t * (t^2 + (1 - t)^2) / (1 - t)^2)."""
    if t <= 0 or t >= 1:
        return float(limit)
    return min(float(limit), (t * t + (1 - t) ** 2) / (t * (1 - t)))
