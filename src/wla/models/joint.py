"""Joint diffusion of image and actions (PAD, UWM; Motus with two streams): one expert denoises both together.

Acting draws the later frame along with the chunk, whether it is looked at or not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wla.batch import Batch, TargetRows
from wla.models.backbone_policy import BackboneEncoding, BackbonePolicy, Reading
from wla.models.experts.joint_expert import JointExpert, Pair
from wla.models.image_codec import ImageCodec
from wla.models.model import Imagination, RecomputedPart, Target
from wla.models.variant_configs import JointConfig


class Joint(BackbonePolicy):
    """Backbone, meta-queries and a `JointExpert`; `imagination=False` leaves nothing out."""

    config: JointConfig
    loss_targets: ClassVar[Mapping[str, Target]] = {"action": "actions", "world": "subgoal", "language": "text"}
    parts: ClassVar[Mapping[str, str]] = {
        "backbone": "backbone.",
        "joint expert": "joint_expert.",
        "image codec": "codec.",
    }

    def __init__(self, config: JointConfig) -> None:
        super().__init__(config)
        expert = config.joint_expert
        self.joint_expert = JointExpert(expert, self.backbone.width)
        self.codec = ImageCodec(config.codec).requires_grad_(False)
        shape = (expert.latent_channels, expert.latent_size, expert.latent_size)
        # A chunk follows from its own noise alone: that of the frame is the same in every call.
        self.register_buffer("noise", torch.randn(shape, generator=torch.Generator().manual_seed(0)), persistent=False)

    @property
    def layers_read(self) -> int:
        return self.config.joint_expert.layers

    def enable_activation_checkpointing(self, parts: Collection[RecomputedPart] | None = None) -> None:
        super().enable_activation_checkpointing(parts)
        if parts is None or "action_expert" in parts:
            self.joint_expert.activation_checkpointing = True

    def action_states(
        self, query_hidden: list[Float[Tensor, "B Q D"]], image: Float[Tensor, "B P D"], frame: UInt8[Tensor, "B H W 3"]
    ) -> list[Float[Tensor, "B K E"]]:
        return [torch.cat([image.to(layer.dtype), layer], dim=1) for layer in query_hidden]

    def query_losses(
        self, batch: Batch, rows: TargetRows, reading: Reading, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms `action` and `world`."""
        primary = batch.images[self.backbone.primary]
        states = self.action_states(reading.query_hidden, reading.context.images[self.backbone.primary], primary)
        if batch.latents is None:
            assert batch.subgoal is not None, "batches have later frames"
            current, later = self.codec.encode(primary), self.codec.encode(batch.subgoal)
        else:
            current, later = (x.to(self.codec.vae.dtype) for x in (batch.latents.current, batch.latents.subgoal))
        action, world = self.joint_expert.losses(states, batch, current, later, generator)
        return ({"action": action} if len(rows.actions) else {}) | ({"world": world} if len(rows.subgoal) else {})

    def sample_actions(
        self,
        encoding: BackboneEncoding,
        *,
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
    ) -> Float[Tensor, "R n A"]:
        """Normalised chunks, each denoised with an image of its own. ValueError for a prefix."""
        if prefix is not None:
            raise ValueError("models of kind 'joint' do not continue a chunk; act without real-time chunking")
        latent = self.get_buffer("noise").to(noise.dtype).expand(len(noise), -1, -1, -1)
        return self._sample(encoding, Pair(noise, latent), num_steps).actions

    @property
    def imagination(self) -> Imagination:
        """Its noise is that of the chunk and of the latent that are denoised together, one behind the other."""
        expert = self.config.joint_expert
        numbers = expert.chunk * expert.action_dim + expert.latent_channels * expert.latent_size**2
        return Imagination(
            size=self.config.target_side,
            noise_shape=(numbers,),
            flow_steps=expert.flow_steps,
            action_conditioned=False,
            guided=False,
        )

    @property
    def image_codec(self) -> ImageCodec:
        return self.codec

    def predict_images(
        self,
        encoding: BackboneEncoding,
        *,
        noise: Float[Tensor, "B K N"],
        num_steps: int | None = None,
        actions: Float[Tensor, "B K n A"] | None = None,
        unconditional: BackboneEncoding | None = None,
    ) -> UInt8[Tensor, "B K _ _ 3"]:
        """Images that were denoised with chunks of their own."""
        expert, count = self.config.joint_expert, noise.shape[1]
        rows = noise.transpose(0, 1).flatten(0, 1)  # row r belongs to episode r mod B
        like = Pair(noise.new_empty(1, expert.chunk, expert.action_dim), self.get_buffer("noise")[None])
        images = self.codec.decode(self._sample(encoding, like.like(rows), num_steps).latent)
        return images.unflatten(0, (count, -1)).transpose(0, 1)

    def _sample(self, encoding: BackboneEncoding, noise: Pair, num_steps: int | None) -> Pair:
        inputs = encoding.inputs
        current = self.codec.encode(inputs.images[self.backbone.primary])
        return self.joint_expert.sample(
            encoding.action_states, inputs.proprio, current, noise, num_steps, inputs.action_dims
        )
