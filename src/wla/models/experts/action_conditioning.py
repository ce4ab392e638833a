"""What a World Expert is told of the actions whose outcome it imagines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from wla.config import Config


class MotionConfig(Config):
    """How actions move the state: one of `action` dimensions adds gain x action + offset to one of `state`.

    In normalised units, so gains and offsets follow from the statistics.
    """

    state: tuple[int, ...]
    action: tuple[int, ...]
    gain: tuple[float, ...]
    offset: tuple[float, ...]
    num_frequencies: int = Field(default=6, ge=1)
    """Waves that tell of a place, each half as long as the one before it; the longest fits the range of the state."""


class ChunkConditionConfig(Config):
    """For a World Expert that also reads the chunk of actions whose outcome it imagines."""

    action_dim: int
    state_dim: int
    chunk: int = Field(ge=1)
    condition_dropout: float = Field(default=0.5, ge=0, le=1)
    """Share of the training samples that are told no actions, so that one model imagines with them and without."""
    motion: MotionConfig | None = None
    """Also tell where the actions lead (None: it has to add them up itself)."""


@dataclass(frozen=True)
class ActionCondition:
    """What will be done, whatever was planned: normalised actions, and the normalised state that they start from.

    known: of which steps the actions are told (None: of all).
    """

    actions: Float[Tensor, "B n A"]
    state: Float[Tensor, "B S"]
    mask: Bool[Tensor, "B n"] | None = None


class ActionConditioner(nn.Module):
    """What will be done -> states that stand in for those of the meta-queries: what is done for what is planned.

    So the World Expert cannot answer with the plan, and what it knows of plans serves to say what actions lead to. Told
    beside the plan, as tokens to attend to or in the blocks' modulation, they were not heard. The state says from where
    the tool moves, hence where it will be: without, that has to be found in the image (docs/results/world.md).
    """

    def __init__(self, config: ChunkConditionConfig, num_queries: int, width: int) -> None:
        super().__init__()
        self.motion = config.motion
        self.size = (num_queries, width)
        told = config.chunk * (config.action_dim + 1) + config.state_dim
        if config.motion is not None:
            told += len(config.motion.state) * (1 + 4 * config.motion.num_frequencies)
        self.mlp = nn.Sequential(
            nn.Linear(told, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, num_queries * width),
        )

    def forward(self, action_condition: ActionCondition, mask: Bool[Tensor, "B n"]) -> Float[Tensor, "B Q D"]:
        told = mask[..., None].to(action_condition.actions.dtype)
        parts = [torch.cat([action_condition.actions * told, told], dim=-1).flatten(1), action_condition.state]
        if self.motion is not None:
            start = action_condition.state[:, list(self.motion.state)]
            end = start + displacement(self.motion, action_condition.actions, told)
            parts += [
                end,
                fourier_features(end, self.motion.num_frequencies),
                fourier_features(start, self.motion.num_frequencies),
            ]
        read = torch.cat(parts, dim=-1)
        return self.mlp(read.to(next(self.parameters()).dtype)).unflatten(1, self.size)


def displacement(
    motion: MotionConfig, actions: Float[Tensor, "B n A"], mask: Float[Tensor, "B n 1"]
) -> Float[Tensor, "B D"]:
    """How far the steps that are told move the state, normalised."""
    gain, offset = actions.new_tensor(motion.gain), actions.new_tensor(motion.offset)
    return ((actions[..., list(motion.action)] * gain + offset) * mask).sum(1)


def fourier_features(positions: Float[Tensor, "B D"], num_frequencies: int) -> Float[Tensor, "B _"]:
    """Sine and cosine of normalised places at so many wavelengths, from 2 down (Fourier features, Tancik et al. 2020).

    From the places alone a network learns images that change slowly with them; a pixel is a hundredth of their range.
    """
    phases = (positions[..., None] * (math.pi * 2.0 ** torch.arange(num_frequencies, device=positions.device))).flatten(
        1
    )
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
