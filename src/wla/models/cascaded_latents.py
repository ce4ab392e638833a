"""A cascade through latents (after VPP, arXiv 2412.14803): imagine, and act on what the World Expert computes for it.

One pass of the World Expert over noise already shows what it is about to draw. The Action Expert reads the states of
its blocks and nothing else, and no gradient of the actions reaches them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wla.batch import Batch, TargetRows
from wla.models.backbone_policy import Reading
from wla.models.variant_configs import CascadedLatentsConfig
from wla.models.world_expert_policy import WorldExpertPolicy, fixed_noise


class CascadedLatents(WorldExpertPolicy):
    """The World Expert acts, too: `imagination=False` leaves nothing out."""

    config: CascadedLatentsConfig

    def __init__(self, config: CascadedLatentsConfig) -> None:
        world = config.world_expert
        super().__init__(config, condition_width=world.heads * world.head_width)
        self.register_buffer("noise", fixed_noise(world), persistent=False)

    def action_states(
        self, query_hidden: list[Float[Tensor, "B Q D"]], image: Float[Tensor, "B P D"], frame: UInt8[Tensor, "B H W 3"]
    ) -> list[Float[Tensor, "B K E"]]:
        return self._imagined(query_hidden, image, self.current_latent(frame))

    def query_losses(
        self, batch: Batch, rows: TargetRows, reading: Reading, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        losses = {"world": self.world_loss(batch, rows.subgoal, reading, generator)}
        if not len(has := rows.actions):
            return losses
        image = reading.context.images[self.backbone.primary][has]
        current = self.current_latents(batch, has) if self.config.world_expert.condition_on_current_frame else None
        states = self._imagined([layer[has] for layer in reading.query_hidden], image, current)
        return losses | {"action": self.action_loss(batch, has, states, generator)}

    @torch.no_grad()
    def _imagined(
        self,
        query_hidden: list[Float[Tensor, "B Q D"]],
        image: Float[Tensor, "B P D"],
        current: Float[Tensor, "B C h w"] | None,
    ) -> list[Float[Tensor, "B K E"]]:
        """States of the World Expert's blocks in the first step of imagining, from the same noise in every call."""
        assert self.world_expert is not None
        noise = self.get_buffer("noise").expand(len(image), -1, -1, -1)
        condition = self.world_expert.condition(image, query_hidden, current)
        return self.world_expert.block_states(noise, noise.new_ones(len(noise)), condition)
