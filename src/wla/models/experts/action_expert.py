"""The Action Expert: query states and proprioception -> a chunk of actions, by flow matching.

One state token and n action tokens run through transformer blocks that alternate between attending to the query states
of one backbone layer and to each other (WLA-0: 28 blocks, width 1024). There is no adaptive norm; time enters with the
action tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from wla.models.activation_checkpointing import run_block
from wla.models.experts.action_blocks import ExpertBlock, KeysValues, relu_mlp, sinusoids
from wla.models.experts.configs import ActionExpertConfig
from wla.models.flow import euler, interpolate_to_data, sample_action_times
from wla.models.flow_times import step_times
from wla.models.losses import masked_mean
from wla.models.realtime_chunking import (
    CLEAN,
    VelocityAfter,
    disturbed,
    integrate,
    sample_delays,
    sample_prefix_errors,
    times_after,
    with_given,
)
from wla.runtime import upload


@dataclass(frozen=True)
class Distillation:
    """Answers of a finished Action Expert, which another one learns. noise_scale: standard deviation of the noise from
    which a single step is learned."""

    teacher: ActionExpert
    noise_scale: float


class ActionExpert(nn.Module):
    """Velocity network, training loss and sampler for action chunks in normalised units.

    distillation: whose answers the loss compares with (None: recorded actions, and its own answers for a single step).
    """

    distillation: Distillation | None = None

    def __init__(self, config: ActionExpertConfig, condition_width: int) -> None:
        super().__init__()
        self.config, self.condition_width = config, condition_width
        self.activation_checkpointing = False
        width = config.width
        inner = config.coder_width or width
        # Without a state its token is a learned one: optimizers, shards and files know no weights without columns.
        self.state_encoder = relu_mlp(max(config.state_dim, 1), inner, width)
        self.action_encoder = nn.Linear(config.action_dim, width)
        self.time_mixer = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.positions = nn.Parameter(0.02 * torch.randn(config.max_chunk or config.chunk, width))
        # Added to the features of time 0 where one step is to reach the end: at first that is a step of Euler.
        self.one_step = nn.Parameter(torch.zeros(width)) if config.one_step else None
        self.blocks = nn.ModuleList(
            [
                ExpertBlock(width, config.heads, condition_width if j % 2 == config.first_cross else None)
                for j in range(config.layers)
            ]
        )
        # Time 1, that of given actions, has a level of its own.
        self.register_buffer("times", sinusoids(config.time.buckets + 1, width), persistent=False)
        self.final_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder = relu_mlp(width, inner, config.action_dim)

    def condition(self, query_hidden: list[Float[Tensor, "B Q C"]]) -> list[KeysValues | None]:
        """Keys and values of the last query states, one entry per block: the same for every noise sample and step."""
        layers = query_hidden[-len(self.blocks) :]
        return [cast(ExpertBlock, block).condition(states) for block, states in zip(self.blocks, layers, strict=True)]

    def state_token(self, state: Float[Tensor, "B S"]) -> Float[Tensor, "B 1 D"]:
        """The token of proprioception (B, S), normalised: the same for every step."""
        return self.state_encoder(self.state_input(state))[:, None]

    def velocity(
        self,
        x: Float[Tensor, "B n A"],
        t: Float[Tensor, "B ..."] | float,
        state: Float[Tensor, "B 1 D"],
        condition: list[KeysValues | None],
        *,
        one_step: Bool[Tensor, " B"] | bool = False,
    ) -> Float[Tensor, "B n A"]:
        """Predicted velocity, action - noise, at time t.

        Args:
            x: noisy actions (B, n, A) in normalised units.
            t: times from 0 (noise) to 1 (data): one for all rows, (B,), or one for each action, (B, n).
            state: the state token, from `state_token`.
            condition: keys and values of each block, from `condition`.
            one_step: the velocity that reaches the actions from noise in one step, where that is learned; for all rows
                or for some.

        Returns:
            (B, n, A) in the precision of the weights.
        """
        x = x.to(self.positions.dtype)
        time = self.time_features(t, one_step=one_step).to(x.dtype)
        time = time if time.ndim == 3 else time[:, None]
        time = time.expand(len(x), x.shape[1], -1)
        actions = self.time_mixer(torch.cat([self.action_encoder(x), time], dim=-1)) + self.positions[: x.shape[1]]
        tokens = torch.cat([state, actions], dim=1)
        for block, keys_values in zip(self.blocks, condition, strict=True):
            tokens = run_block(block, tokens, keys_values, activation_checkpointing=self.activation_checkpointing)
        return self.decoder(self.final_norm(tokens))[:, 1:]

    def state_input(self, state: Float[Tensor, "B S"]) -> Float[Tensor, "B S_in"]:
        """The state as the state encoder reads it: one zero where the robot has none, in the weights' precision."""
        return (state if state.shape[1] else state.new_zeros(len(state), 1)).to(self.positions.dtype)

    def loss(
        self,
        query_hidden: list[Float[Tensor, "B Q C"]],
        state: Float[Tensor, "B S"],
        actions: Float[Tensor, "B n A"],
        mask: Bool[Tensor, "B n A"],
        generator: torch.Generator | None = None,
        dims: Int64[Tensor, " B"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared velocity error over the unmasked action entries, at `noise_samples_per_chunk` noise samples and
        times per chunk (flow matching, Lipman et al. 2022, arXiv 2210.02747), and the weighted error of one step, where
        it is learned.

        Args:
            query_hidden: hidden states of the meta-queries in each backbone layer, (B, Q, C).
            state: proprioception (B, S), normalised.
            actions: chunks (B, n, A), normalised.
            mask: True for entries that count, (B, n, A).
            generator: source of noise and times; None for torch's global one.
            dims: number of each sample's dimensions that are its robot's; the others are padding and stay 0 (None: all
                are).
        """
        repeats = self.config.noise_samples_per_chunk
        noise = self._sample_noise(actions, repeats, generator, dims)
        t = upload(sample_action_times(self.config.time, len(noise), generator), actions.device).to(actions.dtype)
        delays, errors = self._sample_given(noise, generator, dims)
        loss = self.loss_at(query_hidden, state, actions, mask, noise, t, delays, errors)
        if (one_step := self.config.one_step) is None:
            return loss
        noise = self._sample_noise(actions, one_step.noise_samples_per_chunk, generator, dims)
        if self.distillation is not None:
            noise = noise * self.distillation.noise_scale
        given = self._sample_given(noise, generator, dims)
        return loss + one_step.weight * self.one_step_loss_at(query_hidden, state, actions, mask, noise, *given)

    def loss_at(
        self,
        query_hidden: list[Float[Tensor, "B Q C"]],
        state: Float[Tensor, "B S"],
        actions: Float[Tensor, "B n A"],
        mask: Bool[Tensor, "B n A"],
        noise: Float[Tensor, "R n A"],
        t: Float[Tensor, " R"],
        delays: Int64[Tensor, " R"] | None = None,
        errors: Float[Tensor, "R n A"] | None = None,
    ) -> Float[Tensor, ""]:
        """The `loss` at given noise samples and times: R is a multiple of B, and row r belongs to sample r mod B.

        Keys and values of the backbone's states are computed once per sample and repeated, not the states. delays:
        number of actions at the beginning of each row that are given, clean, and not learned. errors: of these, which
        the others then make up for (None: none).
        """
        repeats = len(noise) // len(actions)
        actions, mask = self._rows(actions, delays, errors, repeats), repeat(mask, repeats)
        x, target = interpolate_to_data(noise, actions, t)
        times: Tensor = t
        if delays is not None:
            x, times = with_given(x, t, actions, delays)
            mask = mask & (times < CLEAN)[..., None]
        velocity = self.velocity(x, times, *self.repeated_inputs(query_hidden, state, repeats))
        if self.distillation is not None:
            teacher = self.distillation.teacher
            with torch.no_grad():
                target = teacher.velocity(x, times, *teacher.repeated_inputs(query_hidden, state, repeats))
        return masked_mean((velocity.float() - target.float()).square(), mask)

    def one_step_loss_at(
        self,
        query_hidden: list[Float[Tensor, "B Q C"]],
        state: Float[Tensor, "B S"],
        actions: Float[Tensor, "B n A"],
        mask: Bool[Tensor, "B n A"],
        noise: Float[Tensor, "R n A"],
        delays: Int64[Tensor, " R"] | None = None,
        errors: Float[Tensor, "R n A"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared difference of the velocity that acts in one step from the mean velocity of several steps.

        Rows, delays and errors as in `loss_at`. The actions of a chunk are used only where they are given: what is
        learned are the answers of several steps from the same noise, with the same weights as they are now, or the
        teacher's.
        """
        assert self.config.one_step is not None, "a single step is not learned"
        repeats = len(noise) // len(actions)
        actions, mask = self._rows(actions, delays, errors, repeats), repeat(mask, repeats)
        token, condition = self.repeated_inputs(query_hidden, state, repeats)

        def inputs(x: Float[Tensor, "R n A"], t: float) -> tuple[Float[Tensor, "R n A"], Float[Tensor, "R ..."]]:
            times = x.new_full((len(x),), t)
            return (x, times) if delays is None else with_given(x, times, actions, delays)

        teacher = self if self.distillation is None else self.distillation.teacher
        with torch.no_grad():
            known = teacher.repeated_inputs(query_hidden, state, repeats)

            def velocity(x: Float[Tensor, "R n A"], t: float) -> Float[Tensor, "R n A"]:
                return teacher.velocity(*inputs(x, t), *known).float()

            mean = euler(velocity, noise, step_times(self.config.one_step.target_steps)) - noise
        x, times = inputs(noise, 0.0)
        single = self.velocity(x, times, token, condition, one_step=True).float()
        return masked_mean((single - mean).square(), mask & (times < CLEAN).view(len(noise), -1, 1))

    def sample(
        self,
        query_hidden: list[Float[Tensor, "B Q C"]],
        state: Float[Tensor, "B S"],
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        *,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
        dims: Int64[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "R n A"]:
        """Actions (R, n, A) in normalised units, from given noise, in `num_steps` Euler steps (None: `flow_steps`).

        A single step is the learned one, where there is one. Rows belong to samples as in `loss_at`, dims as in `loss`.
        prefix, delay: what remains of the old chunk, and how many actions of it will have been executed (None: all),
        see `wla.models.realtime_chunking`. ValueError for a delay that the network was not trained for, where it was
        trained for any.
        """
        repeats, steps = len(noise) // len(state), num_steps or self.config.flow_steps
        token, condition = self.repeated_inputs(query_hidden, state, repeats)

        own = None if dims is None else repeat(is_own(dims, noise), repeats)
        noise = noise if own is None else noise * own

        def velocity(x: Float[Tensor, "R n A"], t: float, given: int) -> Float[Tensor, "R n A"]:
            times = upload(times_after(given, t, x.shape[1]), x.device).expand(len(x), -1) if given else t
            moved = self.velocity(x, times, token, condition, one_step=steps == 1)
            return moved if own is None else moved * own

        return self.integrate(velocity, noise, steps, prefix, delay)

    def integrate(
        self,
        velocity: VelocityAfter,
        noise: Float[Tensor, "R n A"],
        num_steps: int,
        prefix: Float[Tensor, "B p A"] | None,
        delay: int | None,
    ) -> Float[Tensor, "R n A"]:
        """The chunks of `sample` for a velocity, however it is computed. ValueError as there."""
        if prefix is not None:
            delay = prefix.shape[1] if delay is None else delay
            self._require_prefix(prefix.shape[1], delay)
            prefix = repeat(prefix.to(noise), len(noise) // len(prefix))
        times = step_times(num_steps, self.config.sampling_shift)
        return integrate(velocity, noise, times, prefix, delay or 0, trained=self.config.max_delay > 0)

    def time_features(
        self, t: Float[Tensor, "*B"] | float, *, one_step: Bool[Tensor, " R"] | bool = False
    ) -> Float[Tensor, "*B D"]:
        """Features of times in [0, 1], each rounded down to a level. one_step: see `velocity`."""
        if isinstance(t, float):
            level = int(np.float32(t) * np.float32(self.config.time.buckets))  # as a device rounds it
            features = self.get_buffer("times")[level : level + 1]
        else:
            features = self.get_buffer("times")[self.time_levels(t)]
        if one_step is False or self.one_step is None:
            return features
        return features + (self.one_step if one_step is True else self.one_step * one_step[:, None])

    def time_levels(self, t: Float[Tensor, "*B"]) -> Int64[Tensor, "*B"]:
        """Levels of times in [0, 1], rounded down."""
        buckets = self.config.time.buckets
        return (t.float() * buckets).long().clamp(0, buckets)

    def _sample_noise(
        self,
        actions: Float[Tensor, "B n A"],
        repeats: int,
        generator: torch.Generator | None,
        dims: Int64[Tensor, " B"] | None,
    ) -> Float[Tensor, "R n A"]:
        """Noise for `repeats` rows of each chunk; none in dimensions that are padding."""
        shape = (repeats * len(actions), *actions.shape[1:])
        noise = upload(torch.randn(shape, generator=generator), actions.device).to(actions.dtype)
        return noise if dims is None else noise * repeat(is_own(dims, noise), repeats)

    def _sample_given(
        self,
        noise: Float[Tensor, "R n A"],
        generator: torch.Generator | None,
        dims: Int64[Tensor, " B"] | None,
    ) -> tuple[Int64[Tensor, " R"] | None, Float[Tensor, "R n A"] | None]:
        """Delays and errors of given actions, see `loss_at`; None where nothing is given."""
        delays = sample_delays(self.config.max_delay, len(noise), generator) if self.config.max_delay else None
        if not self.config.prefix_noise:
            return delays, None
        errors = sample_prefix_errors(self.config.prefix_noise, noise, generator)
        return delays, errors if dims is None else errors * repeat(is_own(dims, noise), len(noise) // len(dims))

    def _rows(
        self,
        actions: Float[Tensor, "B n A"],
        delays: Int64[Tensor, " R"] | None,
        errors: Float[Tensor, "R n A"] | None,
        repeats: int,
    ) -> Float[Tensor, "R n A"]:
        """The chunks of all rows, the given actions with their errors."""
        actions = repeat(actions, repeats)
        if delays is None or errors is None:
            return actions
        return disturbed(actions, delays, errors, self.config.delta_dims)

    def _require_prefix(self, length: int, delay: int) -> None:
        known, chunk = self.config.max_delay, self.config.chunk
        if not 0 <= delay <= length <= chunk:
            raise ValueError(f"a prefix of {length} actions with a delay of {delay} does not fit a chunk of {chunk}")
        if known and delay > known:
            raise ValueError(f"the policy was trained for delays of up to {known} control steps, not {delay}")

    def repeated_inputs(
        self, query_hidden: list[Float[Tensor, "B Q C"]], state: Float[Tensor, "B S"], repeats: int
    ) -> tuple[Float[Tensor, "R 1 D"], list[KeysValues | None]]:
        """The state token and the condition, repeated for several noise samples per sample of the batch."""
        condition = [
            None if pair is None else (repeat(pair[0], repeats), repeat(pair[1], repeats))
            for pair in self.condition(query_hidden)
        ]
        return self.state_token(repeat(state, repeats)), condition


def is_own(dims: Int64[Tensor, " B"], like: Float[Tensor, "R n A"]) -> Float[Tensor, "B 1 A"]:
    """1 for the first `dims` dimensions of each sample, 0 for padding."""
    own = torch.arange(like.shape[-1], device=like.device) < upload(dims, like.device)[:, None]
    return own[:, None].to(like.dtype)


def repeat(x: Tensor, times: int) -> Tensor:
    """The rows of a batch, `times` times one behind the other."""
    return x.repeat(times, *[1] * (x.ndim - 1))
