"""Flow-SDE: action chunks of which one step of the flow is stochastic, and the log-probability of that step.

A flow that is integrated from noise has no tractable likelihood. With one step drawn from a normal distribution, which
leaves the distribution of the chunks about what it was, the policy gradient is that of this step (Flow-GRPO, arXiv
2505.05470; pi_RL, arXiv 2510.25889).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from wla.models.experts.action_expert import ActionExpert, is_own
from wla.models.flow import stochastic_step
from wla.models.flow_times import shifted
from wla.models.trajectory import ActionEncoding, Trajectory


def sample_trajectory(
    expert: ActionExpert,
    encoding: ActionEncoding,
    noise: Float[Tensor, "B n A"],
    num_steps: Int64[Tensor, " B"],
    *,
    step: Int64[Tensor, " B"],
    step_noise: Float[Tensor, "B n A"],
    noise_level: float,
) -> Trajectory:
    """Chunks from `noise`, each row in its `num_steps` steps, of which `step` is stochastic, with `step_noise`.

    With noise_level 0 they are those of `ActionExpert.sample`.
    """
    own = None if encoding.action_dims is None else is_own(encoding.action_dims, noise)
    noise, step_noise = (noise, step_noise) if own is None else (noise * own, step_noise * own)
    condition, token = expert.condition(encoding.query_hidden), expert.state_token(encoding.proprio)
    x, before, after, means = noise, torch.empty_like(noise), torch.empty_like(noise), torch.empty_like(noise)
    at = times_of(expert, step, num_steps)
    for number in range(int(num_steps.max())):
        begin, end = times_of(expert, torch.full_like(step, number), num_steps)
        velocity = expert.velocity(x, begin, token, condition, one_step=num_steps == 1)
        velocity = velocity if own is None else velocity * own
        here, done = (step == number)[:, None, None], (num_steps <= number)[:, None, None]
        mean, std = stochastic_step(x, velocity, *at, noise_level)
        before, means = torch.where(here, x, before), torch.where(here, mean, means)
        following = x + velocity * (end - begin).to(x)[:, None, None]
        if noise_level:
            following = torch.where(here, mean + std * step_noise, following)
        after = torch.where(here, following, after)
        x = torch.where(done, x, following)
    return Trajectory(x, before, after, means, step, num_steps)


def step_distribution(
    expert: ActionExpert, encoding: ActionEncoding, trajectory: Trajectory, noise_level: float
) -> tuple[Float[Tensor, "B n A"], Float[Tensor, "B 1 1"]]:
    """Mean and standard deviation of the stochastic step as the expert's weights are now."""
    steps = trajectory.step, trajectory.num_steps
    velocity = velocity_at(expert, encoding, trajectory.before, *steps)
    return stochastic_step(trajectory.before, velocity, *times_of(expert, *steps), noise_level)


def velocity_at(
    expert: ActionExpert,
    encoding: ActionEncoding,
    x: Float[Tensor, "B n A"],
    step: Int64[Tensor, " B"],
    num_steps: Int64[Tensor, " B"],
) -> Float[Tensor, "B n A"]:
    """The velocity at the beginning of each row's step."""
    condition, token = expert.condition(encoding.query_hidden), expert.state_token(encoding.proprio)
    begin, _ = times_of(expert, step, num_steps)
    return expert.velocity(x, begin, token, condition, one_step=num_steps == 1)


def times_of(
    expert: ActionExpert, step: Int64[Tensor, " B"], num_steps: Int64[Tensor, " B"]
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Times at which each row's step begins and ends; both 1 behind the last one. In double precision, as those of
    `step_times`, so that they round to the same levels."""
    begin, end = ((number / num_steps.double()).clamp(max=1) for number in (step, step + 1))
    shift = expert.config.sampling_shift
    return shifted(begin, shift), shifted(end, shift)


def log_density(
    x: Float[Tensor, "B n A"],
    mean: Float[Tensor, "B n A"],
    std: Float[Tensor, "B 1 1"],
    mask: Bool[Tensor, "B n A"],
) -> Float[Tensor, " B"]:
    """Log-density of the numbers of x with mask True, under a normal distribution."""
    each = -0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)
    return (each * mask).sum((1, 2))


def executed_mask(
    encoding: ActionEncoding, trajectory: Trajectory, executed: Int64[Tensor, " B"]
) -> Bool[Tensor, "B n A"]:
    """The numbers of the chunks that reached the robot: of the first `executed` actions, the robot's own dimensions."""
    like = trajectory.actions
    steps = torch.arange(like.shape[1], device=like.device) < executed[:, None]
    mask = steps[..., None].expand(like.shape)
    return mask if encoding.action_dims is None else mask & is_own(encoding.action_dims, like).bool()
