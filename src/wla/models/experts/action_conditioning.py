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
    octaves: int = Field(default=6, ge=1)
    """Waves that tell of a place, each half as long as the one before it; the longest fits the range of the state."""


class ChunkConditionConfig(Config):
    """For a World Expert that also reads the chunk of actions whose outcome it imagines."""

    action_dim: int
    state_dim: int
    chunk: int = Field(ge=1)
    dropped: float = Field(default=0.5, ge=0, le=1)
    """Share of the training samples that are told no actions, so that one model imagines with them and without."""
    motion: MotionConfig | None = None
    """Also tell where the actions lead (None: it has to add them up itself)."""


@dataclass(frozen=True)
class Doing:
    """What will be done, whatever was planned: normalised actions, and the normalised state that they start from.

    known: of which steps the actions are told (None: of all).
    """

    actions: Float[Tensor, "B n A"]
    state: Float[Tensor, "B S"]
    known: Bool[Tensor, "B n"] | None = None


class DoingStates(nn.Module):
    """What will be done -> states that stand in for those of the meta-queries: what is done for what is planned.

    So the World Expert cannot answer with the plan, and what it knows of plans serves to say what actions lead to. Told
    beside the plan, as tokens to attend to or in the blocks' modulation, they were not heard. The state says from where
    the tool moves, hence where it will be: without, that has to be found in the image (docs/results/world.md).
    """

    def __init__(self, config: ChunkConditionConfig, queries: int, width: int) -> None:
        super().__init__()
        self.motion = config.motion
        self.size = (queries, width)
        told = config.chunk * (config.action_dim + 1) + config.state_dim
        if config.motion is not None:
            told += len(config.motion.state) * (1 + 4 * config.motion.octaves)
        self.read = nn.Sequential(
            nn.Linear(told, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, queries * width),
        )

    def forward(self, doing: Doing, known: Bool[Tensor, "B n"]) -> Float[Tensor, "B Q D"]:
        told = known[..., None].to(doing.actions.dtype)
        parts = [torch.cat([doing.actions * told, told], dim=-1).flatten(1), doing.state]
        if self.motion is not None:
            start = doing.state[:, list(self.motion.state)]
            end = start + moved(self.motion, doing.actions, told)
            parts += [end, waves(end, self.motion.octaves), waves(start, self.motion.octaves)]
        read = torch.cat(parts, dim=-1)
        return self.read(read.to(next(self.parameters()).dtype)).unflatten(1, self.size)


def moved(motion: MotionConfig, actions: Float[Tensor, "B n A"], told: Float[Tensor, "B n 1"]) -> Float[Tensor, "B D"]:
    """How far the steps that are told move the state, normalised."""
    gain, offset = actions.new_tensor(motion.gain), actions.new_tensor(motion.offset)
    return ((actions[..., list(motion.action)] * gain + offset) * told).sum(1)


def waves(places: Float[Tensor, "B D"], octaves: int) -> Float[Tensor, "B _"]:
    """Sine and cosine of normalised places at so many wavelengths, from 2 down (Fourier features, Tancik et al. 2020).

    From the places alone a network learns images that change slowly with them; a pixel is a hundredth of their range.
    """
    phases = (places[..., None] * (math.pi * 2.0 ** torch.arange(octaves, device=places.device))).flatten(1)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
