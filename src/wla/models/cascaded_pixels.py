"""A cascade through images (after UniPi, arXiv 2302.00111, and AVDC, arXiv 2310.08576): imagine the frame after the
chunk, then find the actions that lead there from the present one: inverse dynamics.

Both frames are read as the image codec's latents. In training the later frame is the recorded one, with noise, because
imagined frames have errors; so the images alone carry the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wla.batch import Batch, TargetRows
from wla.models.backbone_policy import Reading
from wla.models.flow import interpolate_to_noise
from wla.models.variant_configs import CascadedPixelsConfig
from wla.models.world_expert_policy import WorldExpertPolicy, fixed_noise
from wla.runtime import upload


class FramePair(nn.Module):
    """Latents of two frames, concatenated by channel -> tokens (B, P, width), one for each 2 x 2 of their places."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(2 * channels, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.positions = nn.Parameter(0.02 * torch.randn(((size + 1) // 2) ** 2, width))

    def forward(self, now: Float[Tensor, "B C h w"], later: Float[Tensor, "B C h w"]) -> Float[Tensor, "B P D"]:
        x = self.first(torch.cat([now, later], dim=1).to(self.positions.dtype))
        x = x + self.second(nn.functional.silu(x))
        return x.flatten(2).transpose(1, 2) + self.positions


class CascadedPixels(WorldExpertPolicy):
    """The World Expert acts, too: `imagination=False` leaves nothing out."""

    config: CascadedPixelsConfig
    parts: ClassVar[Mapping[str, str]] = {**WorldExpertPolicy.parts, "frame pair": "frame_pair."}

    def __init__(self, config: CascadedPixelsConfig) -> None:
        width = config.action_expert.width
        super().__init__(config, condition_width=width)
        self.frame_pair = FramePair(config.codec.latent_channels, config.world_expert.latent_size, width)
        self.register_buffer("noise", fixed_noise(config.world_expert), persistent=False)

    def loss_counts(self, batch: Batch) -> dict[str, int]:
        return super().loss_counts(batch) | {"action": int(_learned(batch).sum())}

    def action_states(
        self, query_hidden: list[Float[Tensor, "B Q D"]], image: Float[Tensor, "B P D"], frame: UInt8[Tensor, "B H W 3"]
    ) -> list[Float[Tensor, "B K E"]]:
        """Of the present frame and the one that is imagined, from the same noise in every call."""
        assert self.world_expert is not None
        assert self.codec is not None
        now = self.codec.encode(frame)
        current = now if self.config.world_expert.condition_on_current_frame else None
        noise = self.get_buffer("noise").expand(len(image), -1, -1, -1)
        imagined = self.world_expert.sample(self.world_expert.condition(image, query_hidden, current), noise)
        return self._between(now, imagined[:, : now.shape[1]])

    def query_losses(
        self, batch: Batch, rows: TargetRows, reading: Reading, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        losses = {"world": self.world_loss(batch, rows.subgoal, reading, generator)}
        if not len(has := rows.actions) or batch.subgoal is None:
            return losses
        later = self.later_latents(batch, has)
        levels = self.config.latent_noise * torch.rand(len(has), generator=generator)
        noise = torch.randn(later.shape, generator=generator)
        noise, levels = (upload(drawn, later.device).to(later.dtype) for drawn in (noise, levels))
        noisy, _ = interpolate_to_noise(later, noise, levels)
        states = self._between(self.current_latents(batch, has), noisy)
        return losses | {"action": self.action_loss(batch, has, states, generator, _learned(batch))}

    def _between(self, now: Float[Tensor, "B C h w"], later: Float[Tensor, "B C h w"]) -> list[Float[Tensor, "B K E"]]:
        """The same tokens for each block of the Action Expert."""
        return [self.frame_pair(now, later)] * self.config.action_expert.layers


def _learned(batch: Batch) -> Tensor:
    """The actions that are learned: those before a frame after the chunk."""
    return batch.action_mask & batch.subgoal_mask[:, None, None]
