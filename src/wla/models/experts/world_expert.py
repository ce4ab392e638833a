"""The World Expert: imagines the latent of the frame after the chunk. Loaded only when images are wanted.

diffusers' Sana transformer, except that block j cross-attends to the condition made from backbone layer j, where the
library's own forward pass gives every block the same condition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import DPMSolverMultistepScheduler, SanaTransformer2DModel
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from wla.config import Config
from wla.models.activation_checkpointing import run_block
from wla.models.attention import unfused_on_cpu
from wla.models.experts.action_conditioning import ActionCondition, ActionConditioner, ChunkConditionConfig
from wla.models.experts.connector import Connector, ConnectorConfig
from wla.models.flow import interpolate_to_noise, sample_noise_levels

TIMESTEPS = 1000

PixelError = Callable[[Float[Tensor, "B c h w"]], Float[Tensor, ""]]
"""Of the images that latents decode to."""


class WorldExpertConfig(Config):
    """Sizes (WLA-0: 28 layers, 36 heads of 32, 16 heads across, latent 64 x 16 x 16).

    latent_channels beyond those of the image codec hold depth, zeros where there is none; they are not learned from.
    """

    latent_channels: int
    latent_size: int
    layers: int
    heads: int
    head_width: int
    cross_heads: int
    mlp_ratio: float = 2.5
    connector: ConnectorConfig
    interpolation_scale: int | None = None
    """Scale of fixed position features of the latent (None: no such features; convolutions tell the places apart)."""
    condition_on_current_frame: bool = False
    """Also read the latent of the present frame, channel by channel beside the noisy one, so that what stays as it is
    is copied instead of imagined. WLA-0: no, it knows the present from the backbone's tokens alone."""
    timestep_shift: float = 1.0
    """Above 1, high noise levels are trained more (see `sample_noise_levels`). WLA-0: uniform."""
    pixel_loss_weight: float = Field(default=0.0, ge=0)
    """How much the error of the decoded image counts in training, beside that of the latent: some of a latent's errors
    can hardly be seen. WLA-0: not at all."""
    flow_steps: int = 30
    """Sampling steps of DPM-Solver++."""
    sampling_shift: float = 1.0
    """Above 1, more of these steps are at high noise levels (SANA: 3)."""
    guidance: float = 1.0
    """How far velocities go beyond those for an empty instruction (WLA-0: 3); 1 leaves these out."""
    actions: ChunkConditionConfig | None = None
    """Also imagine what given actions lead to: two candidates then give two images. WLA-0: no, its images follow from
    what the policy is about to do, whatever candidate they are imagined for."""


@dataclass(frozen=True)
class WorldCondition:
    """What a future is imagined from: for each block what it attends to, and the present's latent if that is read."""

    layers: list[Float[Tensor, "B K W"]]
    current_latent: Float[Tensor, "B C h w"] | None

    def repeated(self, times: int) -> WorldCondition:
        """Each row so many times, one after the other."""
        current_latent = None if self.current_latent is None else self.current_latent.repeat_interleave(times, 0)
        return WorldCondition([layer.repeat_interleave(times, 0) for layer in self.layers], current_latent)


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
        """For each layer, the current image's tokens and that layer's query states through the connector."""
        return [
            run_block(
                self.connector,
                torch.cat([image, states], dim=1),
                activation_checkpointing=self.activation_checkpointing,
            )
            for states in query_hidden[-self.config.layers :]
        ]

    def condition(
        self,
        image: Float[Tensor, "B P D"],
        query_hidden: list[Float[Tensor, "B Q D"]],
        current_latent: Float[Tensor, "B C h w"] | None = None,
        action_condition: ActionCondition | None = None,
    ) -> WorldCondition:
        """What the blocks attend to, projected once for all noises and steps.

        queries: of the last layers, at least as many as there are blocks. present is the latent of the current image,
        for an expert that sees it. doing: for an expert that reads actions; rows of which none is known are imagined
        from the plan alone.
        """
        assert (current_latent is not None) == self.config.condition_on_current_frame, (
            "the present's latent goes with condition_on_current_frame"
        )
        if action_condition is not None:
            assert self.action_conditioner is not None, "this World Expert reads no actions"
            known = (
                torch.ones_like(action_condition.actions[..., 0], dtype=torch.bool)
                if action_condition.mask is None
                else action_condition.mask
            )
            done, told = self.action_conditioner(action_condition, known), known.any(1)[:, None, None]
            query_hidden = [torch.where(told, done, planned) for planned in query_hidden]
        layers = [
            self.sana.caption_norm(self.sana.caption_projection(caption))
            for caption in self.condition_tokens(image, query_hidden)
        ]
        return WorldCondition(layers, current_latent)

    def velocity(
        self, x: Float[Tensor, "B C h w"], s: Float[Tensor, " B"], condition: WorldCondition
    ) -> Float[Tensor, "B C h w"]:
        """Predicted noise - latent at noise level s."""
        batch, _, height, width = x.shape
        x = x.to(self.sana.dtype)
        tokens = self.sana.patch_embed(
            x if condition.current_latent is None else torch.cat([x, condition.current_latent], dim=1)
        )
        modulation, embedded = self.sana.time_embed(s * TIMESTEPS, batch_size=batch, hidden_dtype=tokens.dtype)
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
        tokens = self.sana.proj_out(self.sana.norm_out(tokens, embedded, self.sana.scale_shift_table))
        return tokens.transpose(1, 2).unflatten(2, (height, width))

    def loss(
        self,
        condition: WorldCondition,
        latent: Float[Tensor, "B c h w"],
        generator: torch.Generator | None = None,
        pixel_error: PixelError | None = None,
    ) -> Float[Tensor, ""]:
        """Mean squared velocity error at random noise levels. latent: of the codec, without depth."""
        noise = torch.randn(len(latent), self.config.latent_channels, *latent.shape[2:], generator=generator)
        s = sample_noise_levels(len(latent), TIMESTEPS, self.config.timestep_shift, generator)
        return self.loss_at(condition, latent, noise.to(latent), s.to(latent), pixel_error)

    def loss_at(
        self,
        condition: WorldCondition,
        latent: Float[Tensor, "B c h w"],
        noise: Float[Tensor, "B C h w"],
        s: Float[Tensor, " B"],
        pixel_error: PixelError | None = None,
    ) -> Float[Tensor, ""]:
        """As `loss`, at given noises and noise levels."""
        x, target = interpolate_to_noise(self.with_depth(latent), noise, s)
        colour = latent.shape[1]
        error = self.velocity(x, s, condition).float()[:, :colour] - target.float()[:, :colour]
        loss = error.square().mean()
        if pixel_error is not None:
            # In one step from here the velocity leads to a latent that is off by s times its error.
            loss = loss + self.config.pixel_loss_weight * pixel_error(latent - s[:, None, None, None] * error)
        return loss

    def with_depth(self, latent: Float[Tensor, "B c h w"]) -> Float[Tensor, "B C h w"]:
        """The latent with zeros in the channels of a depth that is not known."""
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
        """Imagined latents, from the given noise.

        empty: the condition for an empty instruction, with guidance. steps: of the solver; None for those that the
        configuration names.
        """
        assert (unconditional is not None) == (self.config.guidance != 1.0), "an empty instruction goes with guidance"
        scheduler = DPMSolverMultistepScheduler(
            num_train_timesteps=TIMESTEPS,
            algorithm_type="dpmsolver++",
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=self.config.sampling_shift,
        )
        scheduler.set_timesteps(num_steps or self.config.flow_steps)
        x = noise
        for timestep in scheduler.timesteps:
            s = torch.full((len(x),), float(timestep) / TIMESTEPS, dtype=x.dtype, device=x.device)
            velocity = self.velocity(x, s, condition)
            if unconditional is not None:
                without = self.velocity(x, s, unconditional)
                velocity = without + self.config.guidance * (velocity - without)
            x = scheduler.step(velocity, timestep, x).prev_sample
        return x
