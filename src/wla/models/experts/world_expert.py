"""The World Expert: generates the latent of the frame after the chunk. Loaded only when images are wanted.

diffusers' Sana transformer, except that block j cross-attends to the condition made from backbone layer j, whereas the
library's own forward pass gives every block the same condition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import SanaTransformer2DModel
from jaxtyping import Float
from torch import Tensor, nn

from wla.models.activation_checkpointing import run_block
from wla.models.attention import unfused_on_cpu
from wla.models.experts.action_conditioning import ActionCondition, ActionConditioner
from wla.models.experts.configs import WorldExpertConfig
from wla.models.experts.connector import Connector
from wla.models.flow import interpolate_to_noise, sample_noise_levels
from wla.models.solver import TIMESTEPS, solve, solver_steps
from wla.runtime import upload

PixelError = Callable[[Float[Tensor, "B c h w"]], Float[Tensor, ""]]
"""Error of the images that given latents decode to (`ImageCodec.pixel_error` with its images bound)."""


@dataclass(frozen=True)
class WorldCondition:
    """Condition of an imagined image: what each block attends to (tokens (B, K, W), or their keys and values), and the
    current frame's latent for an expert with `condition_on_current_frame`."""

    layers: list[Float[Tensor, "B ..."]]
    current_latent: Float[Tensor, "B C h w"] | None

    def joined(self, other: WorldCondition) -> WorldCondition:
        """The rows of both, as one batch."""
        latents = [x for x in (self.current_latent, other.current_latent) if x is not None]
        layers = [torch.cat(pair) for pair in zip(self.layers, other.layers, strict=True)]
        return WorldCondition(layers, torch.cat(latents) if latents else None)

    def repeated(self, times: int) -> WorldCondition:
        """The condition with each row repeated `times` times, copies of a row next to each other."""
        current_latent = None if self.current_latent is None else self.current_latent.repeat_interleave(times, 0)
        return WorldCondition([layer.repeat_interleave(times, 0) for layer in self.layers], current_latent)


VelocityAt = Callable[[Float[Tensor, "R C h w"], float, WorldCondition], Float[Tensor, "R C h w"]]
"""Velocity of latents that are all at the same noise level."""


class WorldExpert(nn.Module):
    """Velocity network over latents, its training loss and its sampler."""

    def __init__(self, config: WorldExpertConfig, backbone_width: int, num_queries: int) -> None:
        super().__init__()
        self.config = config
        self.activation_checkpointing = False
        width = config.heads * config.head_width
        self.connector = Connector(config.connector, backbone_width)
        self.sana = SanaTransformer2DModel(
            in_channels=config.latent_channels * (2 if config.condition_on_current_frame else 1),
            out_channels=config.latent_channels,
            num_attention_heads=config.heads,
            attention_head_dim=config.head_width,
            num_layers=config.layers,
            num_cross_attention_heads=config.cross_heads,
            cross_attention_head_dim=width // config.cross_heads,
            cross_attention_dim=width,
            caption_channels=config.connector.out,
            mlp_ratio=config.mlp_ratio,
            sample_size=config.latent_size,
            patch_size=1,
            interpolation_scale=config.interpolation_scale,
        )
        self.action_conditioner = (
            None if config.actions is None else ActionConditioner(config.actions, num_queries, backbone_width)
        )

    def condition_tokens(
        self, image: Float[Tensor, "B P D"], query_hidden: list[Float[Tensor, "B Q D"]]
    ) -> list[Float[Tensor, "B K C"]]:
        """Connector outputs (B, P + Q, C) per block, from the current image's tokens and that layer's query states."""
        layers = torch.stack(query_hidden[-self.config.layers :])
        tokens = torch.cat([image.expand(len(layers), -1, -1, -1), layers], dim=2).flatten(0, 1)
        conditions = run_block(self.connector, tokens, activation_checkpointing=self.activation_checkpointing)
        return list(conditions.chunk(len(layers)))

    def condition(
        self,
        image: Float[Tensor, "B P D"],
        query_hidden: list[Float[Tensor, "B Q D"]],
        current_latent: Float[Tensor, "B C h w"] | None = None,
        action_condition: ActionCondition | None = None,
    ) -> WorldCondition:
        """The condition of the blocks, projected once for all noise samples and steps.

        Args:
            image: the current image's backbone tokens, (B, P, D).
            query_hidden: hidden states of the meta-queries in the last layers, at least as many as there are blocks.
            current_latent: latent of the current image, exactly for an expert with `condition_on_current_frame`.
            action_condition: only for an action-conditioned expert; rows whose mask is all False are imagined from
                the plan alone.
        """
        self.require_frame(current_latent)
        tokens = torch.cat(self.condition_tokens(image, self.query_states(query_hidden, action_condition)))
        projected = self.sana.caption_norm(self.sana.caption_projection(tokens))
        return WorldCondition(list(projected.split(len(image))), current_latent)

    def query_states(
        self, query_hidden: list[Float[Tensor, "B Q D"]], action_condition: ActionCondition | None
    ) -> list[Float[Tensor, "B Q D"]]:
        """The states that the blocks read, one layer each: of the meta-queries, or made of given actions."""
        query_hidden = query_hidden[-self.config.layers :]
        if action_condition is None:
            return query_hidden
        assert self.action_conditioner is not None, "this World Expert is not action-conditioned"
        mask = (
            torch.ones_like(action_condition.actions[..., 0], dtype=torch.bool)
            if action_condition.mask is None
            else action_condition.mask
        )
        executed, has_actions = self.action_conditioner(action_condition, mask), mask.any(1)[:, None, None]
        return [torch.where(has_actions, executed, planned) for planned in query_hidden]

    def require_frame(self, current_latent: Float[Tensor, "B C h w"] | None) -> None:
        """An assertion that the current frame's latent is there exactly where the expert reads it."""
        assert (current_latent is not None) == self.config.condition_on_current_frame, (
            "the current frame's latent belongs to condition_on_current_frame"
        )

    def velocity(
        self, x: Float[Tensor, "B C h w"], s: Float[Tensor, " B"], condition: WorldCondition
    ) -> Float[Tensor, "B C h w"]:
        """Predicted velocity, noise - latent, (B, C, h, w) at noise levels s from 0 (data) to 1 (noise)."""
        states, embedded = self._run(x, s, condition)
        tokens = self.sana.proj_out(self.sana.norm_out(states[-1], embedded, self.sana.scale_shift_table))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])

    def block_states(
        self, x: Float[Tensor, "B C h w"], s: Float[Tensor, " B"], condition: WorldCondition
    ) -> list[Float[Tensor, "B P W"]]:
        """States of the latent's tokens after each block, in the pass that `velocity` makes."""
        return self._run(x, s, condition)[0]

    def _run(
        self, x: Float[Tensor, "B C h w"], s: Float[Tensor, " B"], condition: WorldCondition
    ) -> tuple[list[Float[Tensor, "B P W"]], Float[Tensor, "B W"]]:
        """States after each block, and the embedding of the noise levels."""
        batch, _, height, width = x.shape
        x = x.to(self.sana.dtype)
        tokens = self.sana.patch_embed(
            x if condition.current_latent is None else torch.cat([x, condition.current_latent], dim=1)
        )
        modulation, embedded = self.sana.time_embed(s * TIMESTEPS, batch_size=batch, hidden_dtype=tokens.dtype)
        found = []
        for block, states in zip(self.sana.transformer_blocks, condition.layers, strict=True):
            run = unfused_on_cpu(block, x.device)
            tokens = run_block(
                run,
                tokens,
                None,
                states,
                None,
                modulation,
                height,
                width,
                activation_checkpointing=self.activation_checkpointing,
            )
            found.append(tokens)
        return found, embedded

    def loss(
        self,
        condition: WorldCondition,
        latent: Float[Tensor, "B c h w"],
        generator: torch.Generator | None = None,
        pixel_error: PixelError | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared velocity error at random noise levels, with `pixel_error` added at its weight.

        Args:
            condition: the blocks' condition, from `condition`.
            latent: the codec's latents (B, c, h, w), without depth.
            generator: source of noise and noise levels; None for torch's global one.
            pixel_error: error of the images that latents decode to; None leaves it out.
        """
        noise = torch.randn(len(latent), self.config.latent_channels, *latent.shape[2:], generator=generator)
        s = sample_noise_levels(len(latent), TIMESTEPS, self.config.timestep_shift, generator)
        noise, s = (upload(x, latent.device).to(latent.dtype) for x in (noise, s))
        return self.loss_at(condition, latent, noise, s, pixel_error)

    def loss_at(
        self,
        condition: WorldCondition,
        latent: Float[Tensor, "B c h w"],
        noise: Float[Tensor, "B C h w"],
        s: Float[Tensor, " B"],
        pixel_error: PixelError | None = None,
    ) -> Float[Tensor, ""]:
        """The `loss` at given noise samples and noise levels."""
        x, target = interpolate_to_noise(self.with_depth(latent), noise, s)
        colour = latent.shape[1]
        error = self.velocity(x, s, condition).float()[:, :colour] - target.float()[:, :colour]
        loss = error.square().mean()
        if pixel_error is not None:
            # One step from here to s = 0 ends at a latent whose error is s times that of the velocity.
            loss = loss + self.config.pixel_loss_weight * pixel_error(latent - s[:, None, None, None] * error)
        return loss

    def with_depth(self, latent: Float[Tensor, "B c h w"]) -> Float[Tensor, "B C h w"]:
        """The latent, padded with zeros in the channels of unknown depth."""
        missing = self.config.latent_channels - latent.shape[1]
        return nn.functional.pad(latent, (0, 0, 0, 0, 0, missing)) if missing else latent

    @torch.no_grad()
    def sample(
        self,
        condition: WorldCondition,
        noise: Float[Tensor, "B C h w"],
        unconditional: WorldCondition | None = None,
        num_steps: int | None = None,
    ) -> Float[Tensor, "B C h w"]:
        """Imagined latents (B, C, h, w), from the given noise by DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095).

        Args:
            condition: the blocks' condition, from `condition`.
            noise: (B, C, h, w), standard normal.
            unconditional: the condition for an empty instruction, exactly with classifier-free guidance.
            num_steps: steps of the solver; None for the configuration's `flow_steps`.
        """

        def velocity(x: Float[Tensor, "R C h w"], s: float, both: WorldCondition) -> Float[Tensor, "R C h w"]:
            return self.velocity(x, x.new_full((len(x),), s), both)

        return self.integrate(velocity, condition, noise, unconditional, num_steps)

    def integrate(
        self,
        velocity: VelocityAt,
        condition: WorldCondition,
        noise: Float[Tensor, "B C h w"],
        unconditional: WorldCondition | None,
        num_steps: int | None,
    ) -> Float[Tensor, "B C h w"]:
        """The latents of `sample` for a velocity, however it is computed."""
        assert (unconditional is not None) == (self.config.guidance != 1.0), "an empty instruction belongs to guidance"
        both = condition if unconditional is None else condition.joined(unconditional)

        def guided(x: Float[Tensor, "B C h w"], s: float) -> Float[Tensor, "B C h w"]:
            if unconditional is None:
                return velocity(x, s, both)
            moved, baseline = velocity(torch.cat([x, x]), s, both).chunk(2)
            return baseline + self.config.guidance * (moved - baseline)

        return solve(guided, noise, solver_steps(num_steps or self.config.flow_steps, self.config.sampling_shift))
