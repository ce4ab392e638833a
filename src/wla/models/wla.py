"""The world-language-action model: one backbone reads, meta-queries gather the dynamics, two experts read the queries.

It is the built-in kind of `wla.models.model.PolicyModel`: three losses, generated text and predicted images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, get_args

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from wla.batch import Batch, left_pad
from wla.models.backbones.base import Backbone, Context
from wla.models.configs import WLAConfig
from wla.models.experts.action_conditioning import ActionCondition
from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.flow_sde import executed_mask, log_density, sample_trajectory, step_distribution
from wla.models.experts.world_expert import WorldCondition, WorldExpert
from wla.models.image_codec import ImageCodec
from wla.models.losses import next_token_loss
from wla.models.model import Imagination, ModelEncoding, ModelInputs, PolicyModel, RecomputedPart, Target
from wla.models.speculative_decoding import decode, truncate_cache
from wla.models.trajectory import ActionEncoding, Trajectory
from wla.runtime import upload


@dataclass(frozen=True)
class WLAEncoding(ModelEncoding):
    """query_hidden: states of the meta-queries in the layers that the experts read. image: backbone features of the
    primary camera."""

    query_hidden: list[Float[Tensor, "B Q D"]]
    image: Float[Tensor, "B P D"]


class WLA(PolicyModel[WLAEncoding]):
    """`imagination=False` builds the model without World Expert and codec, which acting does not need."""

    config: WLAConfig
    loss_targets: ClassVar[Mapping[str, Target]] = {"action": "actions", "world": "subgoal", "language": "text"}
    parts: ClassVar[Mapping[str, str]] = {
        "backbone": "backbone.",
        "Action Expert": "action_expert.",
        "World Expert": "world_expert.",
        "image codec": "codec.",
    }
    optional_weights: ClassVar[frozenset[str]] = frozenset({"action_expert.one_step"})
    imagination_parts: ClassVar[tuple[str, ...]] = ("world_expert.", "codec.")

    def __init__(self, config: WLAConfig, *, imagination: bool = True) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone = config.backbone.build()
        self.action_expert = ActionExpert(config.action_expert, self.backbone.width)
        self.world_expert: WorldExpert | None = None
        self.codec: ImageCodec | None = None
        if imagination:
            self.world_expert = WorldExpert(config.world_expert, self.backbone.width, config.queries.count)
            self.codec = ImageCodec(config.codec).requires_grad_(False)

    @property
    def adapted_module(self) -> Backbone:
        return self.backbone

    def enable_activation_checkpointing(self, parts: Collection[RecomputedPart] | None = None) -> None:
        """From now on the backward pass recomputes the inside of each block of these parts instead of keeping it."""
        chosen = get_args(RecomputedPart) if parts is None else parts
        if "backbone" in chosen:
            self.backbone.enable_activation_checkpointing()
        if "action_expert" in chosen:
            self.action_expert.activation_checkpointing = True
        if "world_expert" in chosen and self.world_expert is not None:
            self.world_expert.activation_checkpointing = True

    def compute_loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Float[Tensor, ""]]:
        """The terms `action`, `world` and `language` of a batch."""
        context = self.backbone.encode(batch.tokens, batch.attention_mask, batch.images)
        zero = context.last.new_zeros((), dtype=torch.float32)
        rows = batch.target_rows()
        language = zero
        if len(rows.text):
            states = context.last.flatten(0, 1)[rows.text]
            language = next_token_loss(self.backbone.logits(states), batch.labels.flatten()[rows.text])
        if not (len(rows.actions) or len(rows.subgoal)):
            return {"action": zero, "world": zero, "language": language}
        query_hidden = self.query_hidden(context)
        action = zero
        if len(has := rows.actions):
            dims = None if batch.action_dims is None else batch.action_dims[has]
            action = self.action_expert.loss(
                [layer[has] for layer in query_hidden],
                batch.state[has],
                batch.actions[has],
                batch.action_mask[has],
                generator,
                dims,
            )
        world = self._world_loss(batch, rows.subgoal, context, query_hidden, generator)
        return {"action": action, "world": world, "language": language}

    def encode(self, inputs: ModelInputs) -> WLAEncoding:
        """Reads prompts and given texts, then the meta-queries."""
        rows = [[*prompt, *text] for prompt, text in zip(inputs.prompts, inputs.texts, strict=True)]
        context = self.backbone.read(*left_pad(rows, inputs.layout.pad), inputs.images, last=1)
        states = self._read_queries(inputs, inputs.texts, context)
        return WLAEncoding(inputs, inputs.texts, states, context.images[self.backbone.primary])

    def generate(self, inputs: ModelInputs) -> WLAEncoding:
        """Greedy texts and the meta-queries after them; one pass when the drafts hold (see `speculative_decoding`)."""
        texts, context, rows, rest = decode(self.backbone, inputs)
        present = context.images[self.backbone.primary]
        states = [] if len(rows) == len(texts) else self.query_hidden(context)
        if rest is not None:
            later = self._read_queries(inputs, [texts[row] for row in rows], rest)
            index = upload(torch.tensor(rows), present.device)
            states = (
                [old.index_copy(0, index, new) for old, new in zip(states, later, strict=True)] if states else later
            )
        return WLAEncoding(inputs, texts, states, present)

    def sample_actions(
        self,
        encoding: WLAEncoding,
        *,
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
    ) -> Float[Tensor, "R n A"]:
        """Normalised action chunks by flow matching, in `num_steps` Euler steps. prefix, delay: see
        `ActionExpert.sample`."""
        proprio, dims = encoding.inputs.proprio, encoding.inputs.action_dims
        return self.action_expert.sample(
            encoding.query_hidden, proprio, noise, num_steps, prefix=prefix, delay=delay, dims=dims
        )

    def action_encoding(self, encoding: WLAEncoding) -> ActionEncoding:
        """The part of an encoding that actions are sampled from, which is all that training the Action Expert needs."""
        layers = encoding.query_hidden[-self.config.action_expert.layers :]
        return ActionEncoding(layers, encoding.inputs.proprio, encoding.inputs.action_dims)

    def sample_trajectory(
        self,
        encoding: ActionEncoding,
        *,
        noise: Float[Tensor, "B n A"],
        num_steps: Int64[Tensor, " B"],
        step: Int64[Tensor, " B"],
        step_noise: Float[Tensor, "B n A"],
        noise_level: float,
    ) -> Trajectory:
        """`sample_actions` with a stochastic step in each row: see `wla.models.experts.flow_sde`."""
        return sample_trajectory(
            self.action_expert, encoding, noise, num_steps, step=step, step_noise=step_noise, noise_level=noise_level
        )

    def log_prob(
        self,
        encoding: ActionEncoding,
        trajectory: Trajectory,
        executed: Int64[Tensor, " B"],
        *,
        noise_level: float,
    ) -> Float[Tensor, " B"]:
        """Log-probability of the stochastic step of each row, over what the robot executed. executed: number of actions
        of each chunk."""
        mean, std = step_distribution(self.action_expert, encoding, trajectory, noise_level)
        return log_density(trajectory.after, mean, std, executed_mask(encoding, trajectory, executed))

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
        encoding: WLAEncoding,
        *,
        noise: Float[Tensor, "B K C h w"],
        num_steps: int | None = None,
        actions: Float[Tensor, "B K n A"] | None = None,
        unconditional: WLAEncoding | None = None,
    ) -> UInt8[Tensor, "B K _ _ 3"]:
        """Images that the primary camera may show after the chunk, one for each noise. num_steps: see
        `WorldExpert.sample`."""
        assert self.world_expert is not None, "built without imagination"
        assert self.codec is not None
        current_latent = self._current_latent(encoding.inputs.images[self.backbone.primary])
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

    def query_hidden(self, context: Context) -> list[Float[Tensor, "B Q D"]]:
        """States of the meta-queries, with which the tokens of the last pass end, in the layers that an expert
        reads."""
        count = self.config.queries.count
        read = max(self.config.action_expert.layers, self.config.world_expert.layers)
        return [states[:, -count:].contiguous() for states in context.layers[-read:]]

    def _read_queries(
        self, inputs: ModelInputs, texts: Sequence[Sequence[int]], context: Context
    ) -> list[Float[Tensor, "B Q D"]]:
        """States of the meta-queries, with which the layout's suffix ends, after the texts."""
        drops, endings = zip(*(inputs.layout.suffix_after(text) for text in texts), strict=True)
        context = self.backbone.extend(truncate_cache(context, drops), *left_pad(endings, inputs.layout.pad))
        return self.query_hidden(context)

    def _world_condition(
        self,
        encoding: WLAEncoding,
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

    def _current_latent(self, image: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B C h w"] | None:
        """The latent of the current primary image, for a World Expert that sees it."""
        assert self.codec is not None
        return self.codec.encode(image) if self.config.world_expert.condition_on_current_frame else None

    def _world_loss(
        self,
        batch: Batch,
        chosen: Int64[Tensor, " N"],
        context: Context,
        query_hidden: list[Float[Tensor, "B Q D"]],
        generator: torch.Generator | None,
    ) -> Float[Tensor, ""]:
        """chosen: the samples with a later frame."""
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
        current, later = self._latents(batch, chosen)
        condition = self.world_expert.condition(
            context.images[self.backbone.primary][chosen],
            [layer[chosen] for layer in query_hidden],
            current,
            action_condition,
        )
        pixel_error = None
        if self.config.world_expert.pixel_loss_weight:
            pixel_error = partial(self.codec.pixel_error, batch.subgoal[chosen])
        return self.world_expert.loss(condition, later, generator, pixel_error)

    def _latents(
        self, batch: Batch, chosen: Int64[Tensor, " N"]
    ) -> tuple[Float[Tensor, "N C h w"] | None, Float[Tensor, "N C h w"]]:
        """Latents of the current frames, for a World Expert that sees them, and of the later ones."""
        assert self.codec is not None
        assert batch.subgoal is not None
        if batch.latents is None:
            current = self._current_latent(batch.images[self.backbone.primary][chosen])
            return current, self.codec.encode(batch.subgoal[chosen])
        known = [kept[chosen].to(self.codec.vae.dtype) for kept in (batch.latents.current, batch.latents.subgoal)]
        return (known[0] if self.config.world_expert.condition_on_current_frame else None), known[1]
