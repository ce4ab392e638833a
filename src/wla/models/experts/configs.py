"""Configuration of the Action Expert, the World Expert and its connector.

Apart from the experts, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from wla.config import Config
from wla.models.sizes import Depth, FlowSteps, Side, StateWidth, Width


class ConnectorConfig(Config):
    """Sizes (WLA-0: mlp 8192, head_width 64, out 2304)."""

    mlp: Width
    head_width: Width
    out: Width
    layers: int = Field(default=1, ge=0, le=1024)
    final_norm: bool = False
    """A further norm of the states before the linear layers. WLA-0: no; the bundled nano expert was trained with it."""
    rope_theta: PositiveFloat = 10_000.0


class ActionTimeConfig(Config):
    """Distribution of training times, u = scale * (1 - Beta(alpha, beta)): early times are sampled more often.

    buckets: number of levels that the network's time features distinguish (times are rounded down).
    """

    alpha: PositiveFloat = 1.5
    beta: PositiveFloat = 1.0
    scale: float = Field(default=0.999, gt=0, le=1)
    shift: PositiveFloat = 1.0
    """Above 1, times are moved towards noise, t = u / (1 + (shift - 1) (1 - u)), for sampling in few steps (arXiv
    2606.05737: alpha 1 and shift 4 for one step). Train for the number of steps that acts: many then succeed less."""
    buckets: PositiveInt = 1000


class OneStepConfig(Config):
    """Learning to reach the end of the flow in one step (SnapFlow, arXiv 2604.05656): from noise, a velocity of its own
    is to be the mean velocity of several steps, which the expert is asked for itself."""

    target_steps: int = Field(default=2, ge=2, le=1000)
    """Euler steps of the answer that is learned (SnapFlow: 2)."""
    noise_samples_per_chunk: Width = 2
    """Noise samples of each chunk, beyond those of flow matching."""
    weight: PositiveFloat = 0.1
    """Weight of its error, added to the error of flow matching."""


class ChunkConfig(Config):
    """Sizes of what an expert makes chunks from, and of the chunks."""

    state_dim: StateWidth
    action_dim: Width
    chunk: Width


class ActionExpertConfig(ChunkConfig):
    """Sizes. Block j is paired with condition layer j; blocks with j % 2 == first_cross attend to it."""

    width: Width = 128
    heads: Width = 4
    layers: Depth = 4
    first_cross: int = Field(default=0, ge=0, le=1)
    coder_width: Width | None = None
    """Width inside the state encoder and the decoder (None: `width`)."""
    max_chunk: Width | None = None
    """Rows of the position embedding (None: `chunk`)."""
    noise_samples_per_chunk: Width = 16
    """Noise samples that each chunk is trained with per step; they share the queries' keys and values."""
    flow_steps: FlowSteps = 32
    """Default number of Euler steps in sampling."""
    sampling_shift: PositiveFloat = 1.0
    """Shift of the times of these steps; below 1 they are shorter where the noise is low, which suits three or four of
    them (see `wla.models.flow_times.shifted`)."""
    time: ActionTimeConfig = ActionTimeConfig()
    one_step: OneStepConfig | None = None
    """Learn to sample in one step as well (None: a single step is one of Euler)."""
    max_delay: int = Field(default=0, ge=0)
    """Actions at the beginning of a chunk that may be given, for real-time chunking; training draws 0 .. max_delay."""
    prefix_noise: float = Field(default=0.0, ge=0)
    """Errors of the given actions in training; see `RealtimeConfig`."""
    delta_dims: tuple[NonNegativeInt, ...] = ()
    """Dimensions that are deltas, where the actions learn to make up for such errors."""

    @model_validator(mode="after")
    def _has_positions(self) -> Self:
        if self.max_chunk is not None and self.max_chunk < self.chunk:
            raise ValueError(f"max_chunk {self.max_chunk} is below chunk {self.chunk}; actions need positions")
        if self.max_delay >= self.chunk:
            raise ValueError(f"max_delay {self.max_delay} leaves nothing of a chunk of {self.chunk}; lower it")
        return self


class JointExpertConfig(ChunkConfig):
    """Sizes of an expert that denoises a latent and a chunk together. Blocks are paired with condition layers as in the
    Action Expert."""

    latent_channels: Width
    """Those of the image codec."""
    latent_size: Side
    patch: Side = 2
    """Places of the latent, along each side, that become one token."""
    streams: Literal[1, 2] = 1
    """1: tokens of the image and of the actions share all weights. 2: each have their own and meet in attention."""
    width: Width = 128
    heads: Width = 4
    layers: Depth = 4
    first_cross: int = Field(default=0, ge=0, le=1)
    noise_samples_per_chunk: Width = 2
    """Noise samples that each sample is trained with per step."""
    flow_steps: FlowSteps = 10
    """Default number of Euler steps in sampling."""
    time: ActionTimeConfig = ActionTimeConfig()

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        if self.latent_size % self.patch:
            raise ValueError(f"patch: a latent of {self.latent_size} has no whole patches of {self.patch}")
        if self.width % (2 * self.heads):
            raise ValueError(f"heads: {self.heads} do not divide the width {self.width} evenly")
        return self


class MotionConfig(Config):
    """Linear model of motion: action dimension `action[i]` adds gain[i] x action + offset[i] to state `state[i]`.

    All in normalised units, so gains and offsets follow from the statistics.
    """

    state: tuple[NonNegativeInt, ...]
    action: tuple[NonNegativeInt, ...]
    gain: tuple[FiniteFloat, ...]
    offset: tuple[FiniteFloat, ...]
    num_frequencies: Depth = 6
    """Number of Fourier features per position, each of half the wavelength of the one before; the longest spans the
    range of the state."""


class ChunkConditionConfig(Config):
    """Configuration of a World Expert that is conditioned on a chunk of actions."""

    action_dim: Width
    state_dim: StateWidth
    chunk: Width
    condition_dropout: float = Field(default=0.5, ge=0, le=1)
    """Probability that a training sample has no action condition, so that one model samples with it and without it."""
    motion: MotionConfig | None = None
    """Model of motion whose end position is a further input (None: the network has to sum the actions itself)."""


class WorldExpertConfig(Config):
    """Sizes (WLA-0: 28 layers, 36 heads of 32, 16 heads across, latent 64 x 16 x 16).

    latent_channels beyond those of the image codec hold depth, zeros where there is none; the loss ignores them.
    """

    latent_channels: Width
    latent_size: Side
    layers: Depth
    heads: Width
    head_width: Width
    cross_heads: Width
    mlp_ratio: PositiveFloat = 2.5
    connector: ConnectorConfig
    interpolation_scale: PositiveInt | None = None
    """Scale of fixed position features of the latent (None: no such features; convolutions distinguish positions)."""
    condition_on_current_frame: bool = False
    """The latent of the current frame is a further input, concatenated to the noisy one by channel, so that unchanged
    regions are copied instead of generated. WLA-0: no, the current frame reaches it through the backbone's tokens
    alone."""
    timestep_shift: PositiveFloat = 1.0
    """Shift of the training noise levels; above 1, high levels are sampled more often (see `sample_noise_levels`).
    WLA-0: uniform."""
    pixel_loss_weight: NonNegativeFloat = 0.0
    """Weight of the decoded image's error in the training loss, added to the latent's error: some errors of a latent
    are hardly visible. WLA-0: 0."""
    flow_steps: FlowSteps = 30
    """Default number of sampling steps of DPM-Solver++."""
    sampling_shift: PositiveFloat = 1.0
    """Shift of the sampling noise levels; above 1, more steps are at high levels (SANA: 3)."""
    guidance: NonNegativeFloat = 1.0
    """Scale of classifier-free guidance against an empty instruction (WLA-0: 3); 1 is without guidance."""
    actions: ChunkConditionConfig | None = None
    """Action conditioning: two candidate chunks then give two images. WLA-0: None, its images follow from the policy's
    plan, the same for every candidate."""
