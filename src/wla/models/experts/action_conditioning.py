"""Action conditioning of the World Expert: given actions as the condition of the imagined image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wla.models.experts.configs import ChunkConditionConfig, MotionConfig


@dataclass(frozen=True)
class ActionCondition:
    """Actions that will be executed, whatever the policy planned, and the state that they start from; normalised.

    mask: True at the steps whose actions are given (None: at all steps).
    """

    actions: Float[Tensor, "B n A"]
    state: Float[Tensor, "B S"]
    mask: Bool[Tensor, "B n"] | None = None


class ActionConditioner(nn.Module):
    """MLP from actions and state to states (B, Q, D) that replace the hidden states of the meta-queries.

    Because they replace the plan, the World Expert cannot answer with it, and what it learned about plans is reused for
    the outcomes of actions. Given in addition to the plan, as tokens to attend to or in the blocks' modulation, actions
    were ignored. The state gives the position that the tool starts from, hence the one where it ends: without it, that
    position has to be found in the image (docs/results/world.md).
    """

    def __init__(self, config: ChunkConditionConfig, num_queries: int, width: int) -> None:
        super().__init__()
        self.motion = config.motion
        self.size = (num_queries, width)
        inputs = config.chunk * (config.action_dim + 1) + config.state_dim
        if config.motion is not None:
            inputs += len(config.motion.state) * (1 + 4 * config.motion.num_frequencies)
        self.mlp = nn.Sequential(
            nn.Linear(inputs, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, num_queries * width),
        )

    def forward(self, action_condition: ActionCondition, mask: Bool[Tensor, "B n"]) -> Float[Tensor, "B Q D"]:
        weight = mask[..., None].to(action_condition.actions.dtype)
        parts = [torch.cat([action_condition.actions * weight, weight], dim=-1).flatten(1), action_condition.state]
        if self.motion is not None:
            start = action_condition.state[:, list(self.motion.state)]
            end = start + displacement(self.motion, action_condition.actions, weight)
            parts += [
                end,
                fourier_features(end, self.motion.num_frequencies),
                fourier_features(start, self.motion.num_frequencies),
            ]
        inputs = torch.cat(parts, dim=-1)
        return self.mlp(inputs.to(next(self.parameters()).dtype)).unflatten(1, self.size)


def displacement(
    motion: MotionConfig, actions: Float[Tensor, "B n A"], mask: Float[Tensor, "B n 1"]
) -> Float[Tensor, "B D"]:
    """Displacement of the state over the steps with mask 1, normalised."""
    gain, offset = actions.new_tensor(motion.gain), actions.new_tensor(motion.offset)
    return ((actions[..., list(motion.action)] * gain + offset) * mask).sum(1)


def fourier_features(positions: Float[Tensor, "B D"], num_frequencies: int) -> Float[Tensor, "B _"]:
    """Sine and cosine of normalised positions at wavelengths 2, 1, 1/2, .. (Fourier features, Tancik et al. 2020).

    From bare positions a network learns images that change slowly with them; a pixel is a hundredth of their range.

    Returns (B, 2 D num_frequencies): all sines, then all cosines.
    """
    frequencies = math.pi * 2.0 ** torch.arange(num_frequencies, device=positions.device)
    phases = (positions[..., None] * frequencies).flatten(1)
    return torch.cat([phases.sin(), phases.cos()], dim=-1)
