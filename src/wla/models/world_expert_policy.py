"""Policies with a World Expert on a backbone: it learns the image after the chunk, and predicts it on request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from wla.batch import Batch, TargetRows
from wla.models.action_expert_policy import ActionExpertPolicy
from wla.models.backbone_policy import BackboneEncoding, Reading
from wla.models.configs import WorldExpertPolicyConfig
from wla.models.experts.action_conditioning import ActionCondition
from wla.models.experts.configs import WorldExpertConfig
from wla.models.experts.world_expert import WorldCondition, WorldExpert
from wla.models.image_codec import ImageCodec
from wla.models.model import Imagination, RecomputedPart, Target
from wla.runtime import upload


class WorldExpertPolicy(ActionExpertPolicy):
    """Base of the models that learn the later image by a `WorldExpert`. `imagination=False` builds the model without
    World Expert and codec."""

    config: WorldExpertPolicyConfig
    loss_targets: ClassVar[Mapping[str, Target]] = {"action": "actions", "world": "subgoal", "language": "text"}
    parts: ClassVar[Mapping[str, str]] = {
        "backbone": "backbone.",
        "Action Expert": "action_expert.",
        "World Expert": "world_expert.",
        "image codec": "codec.",
        "masked drafts": "drafter.",
    }

    def __init__(
        self, config: WorldExpertPolicyConfig, *, imagination: bool = True, condition_width: int | None = None
    ) -> None:
        super().__init__(config, condition_width=condition_width)
        self.world_expert: WorldExpert | None = None
        self.codec: ImageCodec | None = None
        if imagination:
            self.world_expert = WorldExpert(config.world_expert, self.backbone.width, config.queries.count)
            self.codec = ImageCodec(config.codec).requires_grad_(False)

    def enable_activation_checkpointing(self, parts: Collection[RecomputedPart] | None = None) -> None:
        super().enable_activation_checkpointing(parts)
        if (parts is None or "world_expert" in parts) and self.world_expert is not None:
            self.world_expert.activation_checkpointing = True

    @property
    def layers_read(self) -> int:
        return max(self.config.action_expert.layers, self.config.world_expert.layers)

    def query_losses(
        self, batch: Batch, rows: TargetRows, reading: Reading, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms `action` and `world`."""
        action = super().query_losses(batch, rows, reading, generator)
        return action | {"world": self.world_loss(batch, rows.subgoal, reading, generator)}

    @property
    def imagination(self) -> Imagination | None:
        if self.world_expert is None:
            return None
        world = self.config.world_expert
        return Imagination(
            size=self.config.target_side,
            noise_shape=(world.latent_channels, world.latent_size, world.latent_size),
            flow_steps=world.flow_steps,
            action_conditioned=world.actions is not None,
            guided=world.guidance != 1.0,
        )

    @property
    def image_codec(self) -> ImageCodec | None:
        return self.codec

    def predict_images(
        self,
        encoding: BackboneEncoding,
        *,
        noise: Float[Tensor, "B K C h w"],
        num_steps: int | None = None,
        actions: Float[Tensor, "B K n A"] | None = None,
        unconditional: BackboneEncoding | None = None,
    ) -> UInt8[Tensor, "B K _ _ 3"]:
        """Images that the primary camera may show after the chunk, one for each noise. num_steps: see
        `WorldExpert.sample`."""
        assert self.world_expert is not None, "built without imagination"
        assert self.codec is not None
        current_latent = self.current_latent(encoding.inputs.images[self.backbone.primary])
        count, action_condition = noise.shape[1], None
        if actions is not None:
            proprio = encoding.inputs.proprio.repeat_interleave(count, 0)
            action_condition = ActionCondition(actions.flatten(0, 1), proprio)
        condition = self._world_condition(encoding, current_latent, count, action_condition)
        without = (
            None
            if unconditional is None
            else self._world_condition(unconditional, current_latent, count, action_condition)
        )
        latent = self.world_expert.sample(condition, noise.flatten(0, 1), without, num_steps)
        images = self.codec.decode(latent[:, : self.config.codec.latent_channels])
        return images.unflatten(0, (-1, count))

    def _world_condition(
        self,
        encoding: BackboneEncoding,
        current_latent: Float[Tensor, "B C h w"] | None,
        count: int,
        action_condition: ActionCondition | None,
    ) -> WorldCondition:
        """`count` rows for each sample, equal ones where they are not conditioned on actions."""
        assert self.world_expert is not None
        image, query_hidden = encoding.image, encoding.query_hidden
        if action_condition is None:
            return self.world_expert.condition(image, query_hidden, current_latent).repeated(count)
        image, *query_hidden = (states.repeat_interleave(count, 0) for states in (image, *query_hidden))
        current_latent = None if current_latent is None else current_latent.repeat_interleave(count, 0)
        return self.world_expert.condition(image, query_hidden, current_latent, action_condition)

    def current_latent(self, image: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B C h w"] | None:
        """The latent of the current primary image, for a World Expert that sees it."""
        assert self.codec is not None
        return self.codec.encode(image) if self.config.world_expert.condition_on_current_frame else None

    def world_loss(
        self, batch: Batch, chosen: Int64[Tensor, " N"], reading: Reading, generator: torch.Generator | None
    ) -> Float[Tensor, ""]:
        """The World Expert's loss. chosen: the samples with a later frame."""
        context, query_hidden = reading
        if self.world_expert is None or self.codec is None or batch.subgoal is None or len(chosen) == 0:
            return context.last.new_zeros((), dtype=torch.float32)
        if self.config.max_world_samples is not None:
            order = torch.randperm(len(chosen), generator=generator)[: self.config.max_world_samples]
            chosen = chosen[upload(order, chosen.device)]
        action_condition = None
        if self.config.world_expert.actions is not None:
            kept = torch.rand(len(chosen), generator=generator) >= self.config.world_expert.actions.condition_dropout
            known = batch.action_mask[chosen].any(-1) & upload(kept, chosen.device)[:, None]
            action_condition = ActionCondition(batch.actions[chosen], batch.state[chosen], known)
        condition = self.world_expert.condition(
            context.images[self.backbone.primary][chosen],
            [layer[chosen] for layer in query_hidden],
            self.current_latents(batch, chosen) if self.config.world_expert.condition_on_current_frame else None,
            action_condition,
        )
        pixel_error = None
        if self.config.world_expert.pixel_loss_weight:
            pixel_error = partial(self.codec.pixel_error, batch.subgoal[chosen])
        return self.world_expert.loss(condition, self.later_latents(batch, chosen), generator, pixel_error)

    def current_latents(self, batch: Batch, chosen: Int64[Tensor, " N"]) -> Float[Tensor, "N C h w"]:
        """Latents of the current frames of these samples."""
        assert self.codec is not None
        if batch.latents is not None:
            return batch.latents.current[chosen].to(self.codec.vae.dtype)
        return self.codec.encode(batch.images[self.backbone.primary][chosen])

    def later_latents(self, batch: Batch, chosen: Int64[Tensor, " N"]) -> Float[Tensor, "N C h w"]:
        """Latents of the later frames of these samples."""
        assert self.codec is not None
        assert batch.subgoal is not None
        if batch.latents is not None:
            return batch.latents.subgoal[chosen].to(self.codec.vae.dtype)
        return self.codec.encode(batch.subgoal[chosen])


def fixed_noise(world: WorldExpertConfig) -> Float[Tensor, "C h w"]:
    """The noise from which a policy that acts on what it imagines always does so: the same call gives the same
    actions."""
    shape = (world.latent_channels, world.latent_size, world.latent_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
