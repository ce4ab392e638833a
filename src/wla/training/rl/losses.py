"""Losses of a minibatch of the policy's calls: GRPO and PPO, NFT, the anchor on what succeeded, the choice of steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from wla.models import masked_mean
from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.flow_sde import log_density, step_distribution, times_of, velocity_at
from wla.runtime import upload
from wla.training.rl.calls import Calls
from wla.training.rl.configs import NFTConfig, PolicyGradientConfig, PPOConfig, RLTrainConfig
from wla.training.rl.policy_gradient import clipped_loss
from wla.training.rl.trained import StepChoice, Trained
from wla.training.rl.value_network import ValueNetwork

CHOICE_CLIP = 0.2
"""Range of the probability ratio of a number of flow steps, 1 - clip .. 1 + clip."""


def compute_losses(
    trained: Trained, starting: Trained, acted: Trained, calls: Calls, config: RLTrainConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """The `loss` of a recipe and what the log shows. starting, acted: what training began with, and what acted."""
    match config.objective:
        case PolicyGradientConfig() as objective:
            terms = policy_gradient_loss(trained.action_expert, starting.action_expert, calls, objective)
        case NFTConfig() as objective:
            terms = nft_loss(
                trained.action_expert, starting.action_expert, acted.action_expert, calls, objective, generator
            )
    if isinstance(config.objective, PPOConfig):
        assert trained.value is not None, "PPO trains one"
        terms["value"] = value_loss(trained.value, calls, config.objective)
        terms["loss"] = terms["loss"] + config.objective.value_weight * terms["value"]
    if config.anchor_weight:
        terms["anchor"] = anchor_loss(trained.action_expert, calls, generator)
        terms["loss"] = terms["loss"] + config.anchor_weight * terms["anchor"]
    if trained.step_choice is not None and acted.step_choice is not None:
        terms["loss"] = terms["loss"] + choice_loss(trained.step_choice, acted.step_choice, calls)
    return terms


def policy_gradient_loss(
    expert: ActionExpert, starting: ActionExpert, calls: Calls, config: PolicyGradientConfig
) -> dict[str, Tensor]:
    """Terms: `loss`, and for the log the mean probability ratio, the fraction that is clipped, and the divergence from
    the policy that training started from (`kl`) and from the one that acted (`kl_update`, an estimate)."""
    taken, executed = calls.trajectory, calls.executed
    mean, std = step_distribution(expert, calls.encoding, taken, config.noise_level)
    before = log_density(taken.after, taken.mean, std, executed)
    clipped = clipped_loss(log_density(taken.after, mean, std, executed) - before, calls.advantage, config.clip)
    with torch.no_grad():
        starting_mean, _ = step_distribution(starting, calls.encoding, taken, config.noise_level)
    # Two normal distributions of the same standard deviation.
    divergence = (((mean - starting_mean) / std).square() / 2 * executed).sum((1, 2)).mean()
    return {
        "loss": clipped.loss + config.kl_weight * divergence,
        "kl": divergence,
        "kl_update": clipped.divergence.mean(),
        "ratio": clipped.ratio.mean(),
        "clip_fraction": clipped.outside.float().mean(),
    }


def value_loss(value: ValueNetwork, calls: Calls, config: PPOConfig) -> Tensor:
    """Squared error of the values, of which those that moved by more than the clip are pushed no further."""
    assert calls.estimates is not None, "PPO has them"
    found, before, returns = value(calls.encoding), calls.estimates.values, calls.estimates.returns
    near = before + (found - before).clamp(-config.value_clip, config.value_clip)
    return torch.maximum((found - returns).square(), (near - returns).square()).mean()


def nft_loss(
    expert: ActionExpert,
    starting: ActionExpert,
    acted: ActionExpert,
    calls: Calls,
    config: NFTConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Terms: `loss`, and for the log the squared distance of the denoised chunks from those of the policy that training
    started from (`reference_distance`) and of the one that acted (`update_distance`).

    Diffusion NFT (Zheng et al. 2025, arXiv 2509.16117): what the policy predicts is moved towards the chunks of good
    episodes, and its mirror image around the policy that acted towards those of bad ones.
    """
    points = NoisedChunks.of(expert, calls, config.noise_samples_per_chunk, generator)
    with torch.no_grad():
        before, reference = points.velocity(acted), points.velocity(starting)
    velocity = points.velocity(expert)
    change = config.beta * (velocity - before)
    good = (points.calls.advantage.clamp(-1, 1) + 1)[:, None, None] / 2
    error = good * points.error(before + change) + (1 - good) * points.error(before - change)
    distance = masked_mean((points.left * (velocity - reference)).square(), points.calls.executed)
    return {
        "loss": masked_mean(error, points.calls.executed) / config.beta + config.reference_weight * distance,
        "reference_distance": distance,
        "update_distance": masked_mean((points.left * change).square(), points.calls.executed),
    }


def choice_loss(choice: StepChoice, acted: StepChoice, calls: Calls) -> Tensor:
    """Clipped policy gradient of the numbers of flow steps."""
    with torch.no_grad():
        before = acted.log_prob(calls.trajectory.num_steps)
    return clipped_loss(choice.log_prob(calls.trajectory.num_steps) - before, calls.advantage, CHOICE_CLIP).loss


def anchor_loss(expert: ActionExpert, calls: Calls, generator: torch.Generator) -> Tensor:
    """Flow matching on the chunks of successful episodes, an upper bound of their negative log-likelihood."""
    points = NoisedChunks.of(expert, calls, 1, generator)
    error = (points.velocity(expert) - (points.calls.trajectory.actions - points.noise)).square()
    return masked_mean(error, points.calls.executed & points.calls.success[:, None, None])


@dataclass(frozen=True)
class NoisedChunks:
    """Points on the straight paths from fresh noise to the sampled chunks, at times of the steps that sampled them.

    left: time from there to the chunk.
    """

    calls: Calls
    noise: Float[Tensor, "R n A"]
    step: Int64[Tensor, " R"]
    left: Float[Tensor, "R 1 1"]

    @classmethod
    def of(cls, expert: ActionExpert, calls: Calls, samples: int, generator: torch.Generator) -> NoisedChunks:
        """`samples` points for each call, at times of the expert's steps."""
        repeated = calls.rows(torch.arange(len(calls.advantage)).repeat(samples))
        shape, device = repeated.trajectory.actions.shape, repeated.trajectory.actions.device
        noise, uniform = torch.randn(shape, generator=generator), torch.rand(shape[0], generator=generator)
        step = (upload(uniform, device) * repeated.trajectory.num_steps).long()
        begin, _ = times_of(expert, step, repeated.trajectory.num_steps)
        return cls(repeated, upload(noise, device), step, (1 - begin).float()[:, None, None])

    def velocity(self, expert: ActionExpert) -> Float[Tensor, "R n A"]:
        """The expert's velocity at the points."""
        return velocity_at(expert, self.calls.encoding, self._x, self.step, self.calls.trajectory.num_steps)

    def error(self, velocity: Float[Tensor, "R n A"]) -> Float[Tensor, "R n A"]:
        """Squared distance between the chunks and where this velocity leads to."""
        return (self._x + self.left * velocity - self.calls.trajectory.actions).square()

    @property
    def _x(self) -> Float[Tensor, "R n A"]:
        return self.left * self.noise + (1 - self.left) * self.calls.trajectory.actions
