"""The joint expert: the later frame's latent and the chunk of actions are denoised together, in the same flow time.

With one stream, tokens of the image and of the actions share all weights (PAD, arXiv 2411.18179; UWM, arXiv
2504.02792). With two, each has weights of its own, and they meet in attention (Motus, arXiv 2512.13030). Blocks
alternate between attending to the backbone's states and to all tokens, as in the Action Expert.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wla.batch import Batch
from wla.models.activation_checkpointing import run_block
from wla.models.experts.action_expert import ExpertBlock, KeysValues, is_own, relu_mlp, repeat, sinusoids
from wla.models.experts.configs import JointExpertConfig
from wla.models.flow import euler, interpolate_to_data, sample_action_times
from wla.models.flow_times import step_times
from wla.models.losses import masked_mean
from wla.runtime import upload

Streams = list[Float[Tensor, "B _ D"]]
"""Tokens of each stream."""


class Pair(NamedTuple):
    """What is denoised together: chunks in normalised units, and latents."""

    actions: Float[Tensor, "R n A"]
    latent: Float[Tensor, "R C H W"]

    def flat(self) -> Float[Tensor, "R N"]:
        """Both as one vector."""
        return torch.cat([self.actions.flatten(1), self.latent.flatten(1)], dim=1)

    def like(self, flat: Float[Tensor, "R N"]) -> Pair:
        """A flat vector as a pair of this one's shapes."""
        actions, latent = flat.split([self.actions[0].numel(), self.latent[0].numel()], dim=1)
        return Pair(actions.unflatten(1, self.actions.shape[1:]), latent.unflatten(1, self.latent.shape[1:]))


class JointBlock(nn.Module):
    """A block of the Action Expert's kind for each stream, whose keys and values all streams see."""

    def __init__(self, width: int, heads: int, condition_width: int | None, streams: int) -> None:
        super().__init__()
        self.streams = nn.ModuleList([ExpertBlock(width, heads, condition_width) for _ in range(streams)])

    def condition(self, states: Float[Tensor, "B K E"]) -> list[KeysValues | None]:
        """Keys and values of the backbone's states for each stream; None for a block that attends to the tokens."""
        return [cast(ExpertBlock, stream).condition(states) for stream in self.streams]

    def forward(self, tokens: Streams, condition: list[KeysValues | None]) -> Streams:
        return [
            stream(x, own) for stream, x, own in zip(self.streams, tokens, self._seen(tokens, condition), strict=True)
        ]

    def _seen(self, tokens: Streams, condition: list[KeysValues | None]) -> list[KeysValues | None]:
        if condition[0] is not None:
            return condition
        pairs = [
            cast(ExpertBlock, stream).attention.keys_values(nn.functional.layer_norm(x, x.shape[-1:]))
            for stream, x in zip(self.streams, tokens, strict=True)
        ]
        keys, values = (torch.cat(parts, dim=2) for parts in zip(*pairs, strict=True))
        return [(keys, values)] * len(pairs)


class TimedTokens(nn.Module):
    """Inputs -> tokens that know the flow time and their place."""

    def __init__(self, source: int, width: int, places: int) -> None:
        super().__init__()
        self.encoder = nn.Linear(source, width)
        self.mixer = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        self.positions = nn.Parameter(0.02 * torch.randn(places, width))

    def forward(self, x: Float[Tensor, "R T S"], time: Float[Tensor, "R D"]) -> Float[Tensor, "R T D"]:
        encoded = self.encoder(x.to(self.positions.dtype))
        time = time.to(encoded.dtype)[:, None].expand_as(encoded)
        return self.mixer(torch.cat([encoded, time], dim=-1)) + self.positions


class JointExpert(nn.Module):
    """Velocity network, training loss and sampler of chunks and latents. Time runs from 0 (noise) to 1 (data)."""

    def __init__(self, config: JointExpertConfig, condition_width: int) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = False
        width, patch, places = config.width, config.patch, (config.latent_size // config.patch) ** 2
        self.state_encoder = relu_mlp(max(config.state_dim, 1), width, width)
        self.action_tokens = TimedTokens(config.action_dim, width, config.chunk)
        # The present frame's latent is a further input, so that what does not change is copied.
        self.image_tokens = TimedTokens(2 * config.latent_channels * patch**2, width, places)
        self.blocks = nn.ModuleList(
            [
                JointBlock(
                    width, config.heads, condition_width if j % 2 == config.first_cross else None, config.streams
                )
                for j in range(config.layers)
            ]
        )
        self.register_buffer("times", sinusoids(config.time.buckets + 1, width), persistent=False)
        self.final_norm = nn.LayerNorm(width, eps=1e-6)
        self.action_decoder = relu_mlp(width, width, config.action_dim)
        self.image_decoder = nn.Linear(width, config.latent_channels * patch**2)

    def condition(self, states: list[Float[Tensor, "B K E"]], repeats: int) -> list[list[KeysValues | None]]:
        """Keys and values for each block and stream, computed once for `repeats` rows of each sample."""
        layers = zip(self.blocks, states[-len(self.blocks) :], strict=True)
        found = [cast(JointBlock, block).condition(layer) for block, layer in layers]
        return [[pair and (repeat(pair[0], repeats), repeat(pair[1], repeats)) for pair in each] for each in found]

    def velocity(
        self,
        x: Pair,
        t: tuple[Float[Tensor, " R"], Float[Tensor, " R"]],
        state: Float[Tensor, "R S"],
        current: Float[Tensor, "R C H W"],
        condition: list[list[KeysValues | None]],
    ) -> Pair:
        """Predicted velocity, data - noise. t: time of the actions and of the latents."""
        actions = self.action_tokens(x.actions, self._time_features(t[0]))
        patches = self._patches(torch.cat([x.latent.to(current.dtype), current], dim=1))
        image = self.image_tokens(patches, self._time_features(t[1]))
        state = state if state.shape[1] else state.new_zeros(len(state), 1)
        acting = torch.cat([self.state_encoder(state.to(actions.dtype))[:, None], actions], dim=1)
        tokens = [torch.cat([acting, image], dim=1)] if self.config.streams == 1 else [acting, image]
        for block, keys_values in zip(self.blocks, condition, strict=True):
            tokens = run_block(block, tokens, keys_values, activation_checkpointing=self.activation_checkpointing)
        ends = self.final_norm(torch.cat(tokens, dim=1))
        chunk = x.actions.shape[1]
        return Pair(self.action_decoder(ends[:, 1 : 1 + chunk]), self._latent(self.image_decoder(ends[:, 1 + chunk :])))

    def losses(
        self,
        states: list[Float[Tensor, "B K E"]],
        batch: Batch,
        current: Float[Tensor, "B C H W"],
        later: Float[Tensor, "B C H W"],
        generator: torch.Generator | None,
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean squared velocity errors of the actions and of the latents that the batch has, at
        `noise_samples_per_chunk` noise samples each. What a sample lacks is noise at the input."""
        repeats = self.config.noise_samples_per_chunk
        data = Pair(repeat(batch.actions, repeats), repeat(later, repeats))
        rows = len(data.actions)
        noise = self._noise(data, generator, batch.action_dims)
        t = upload(sample_action_times(self.config.time, rows, generator), later.device).to(batch.actions.dtype)
        mask, has_frame = repeat(batch.action_mask, repeats), repeat(batch.subgoal_mask, repeats)
        times = (t * mask.any(dim=(1, 2)), t * has_frame)
        points = [interpolate_to_data(*each) for each in zip(noise, data, times, strict=True)]
        condition = self.condition(states, repeats)
        found = self.velocity(
            Pair(points[0][0], points[1][0]), times, repeat(batch.state, repeats), repeat(current, repeats), condition
        )
        errors = [(each.float() - target.float()).square() for each, (_, target) in zip(found, points, strict=True)]
        return masked_mean(errors[0], mask), masked_mean(errors[1].mean(dim=(1, 2, 3)), has_frame)

    def sample(
        self,
        states: list[Float[Tensor, "B K E"]],
        state: Float[Tensor, "B S"],
        current: Float[Tensor, "B C H W"],
        noise: Pair,
        num_steps: int | None = None,
        dims: Int64[Tensor, " B"] | None = None,
    ) -> Pair:
        """Chunks and latents from given noise, in `num_steps` steps of Euler (None: `flow_steps`). Row r belongs to
        sample r mod B. dims: see `ActionExpert.loss`."""
        repeats = len(noise.actions) // len(state)
        condition = self.condition(states, repeats)
        state, current = repeat(state, repeats), repeat(current, repeats)
        own = 1.0 if dims is None else repeat(is_own(dims, noise.actions), repeats)

        def velocity(x: Float[Tensor, "R N"], t: float) -> Float[Tensor, "R N"]:
            times = x.new_full((len(x),), t)
            moved = self.velocity(noise.like(x), (times, times), state, current, condition)
            return Pair(moved.actions * own, moved.latent).flat().to(x.dtype)

        begin = Pair(noise.actions * own, noise.latent).flat()
        return noise.like(euler(velocity, begin, step_times(num_steps or self.config.flow_steps)))

    def _noise(self, data: Pair, generator: torch.Generator | None, dims: Int64[Tensor, " B"] | None) -> Pair:
        """Noise of both; none in dimensions of actions that are padding."""
        actions, latent = (
            upload(torch.randn(each.shape, generator=generator), each.device).to(each.dtype) for each in data
        )
        if dims is not None:
            actions = actions * repeat(is_own(dims, actions), len(actions) // len(dims))
        return Pair(actions, latent)

    def _time_features(self, t: Float[Tensor, " R"]) -> Float[Tensor, "R D"]:
        buckets = self.config.time.buckets
        return self.get_buffer("times")[(t.float() * buckets).long().clamp(0, buckets)]

    def _patches(self, latent: Float[Tensor, "R C H W"]) -> Float[Tensor, "R P S"]:
        return nn.functional.unfold(latent, self.config.patch, stride=self.config.patch).transpose(1, 2)

    def _latent(self, patches: Float[Tensor, "R P S"]) -> Float[Tensor, "R C H W"]:
        side, patch = self.config.latent_size, self.config.patch
        return nn.functional.fold(patches.transpose(1, 2), side, patch, stride=patch)
