"""The world-language-action model: one backbone reads, meta-queries gather the dynamics, two experts read the queries.

Training goes through `forward` (three losses); acting through `prefill` -> `next_tokens` and `decode_text` ->
`encode_queries` -> `sample_actions` and, when an image is wanted, `imagine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from pydantic import Field, model_validator
from torch import Tensor, nn

from wla.batch import Batch
from wla.config import Config
from wla.models.backbones.base import Backbone, Context
from wla.models.backbones.nano import NanoBackboneConfig
from wla.models.backbones.qwen3_vl import QwenBackboneConfig
from wla.models.experts.action_conditioning import ActionCondition
from wla.models.experts.action_expert import ActionExpert, ActionExpertConfig
from wla.models.experts.world_expert import WorldCondition, WorldExpert, WorldExpertConfig
from wla.models.image_codec import ImageCodec, ImageCodecConfig
from wla.models.losses import Losses, next_token_loss
from wla.types import IGNORE_INDEX


class MetaQueryConfig(Config):
    """Meta-queries are ordinary vocabulary entries: begin marker, end marker, then `count` queries in a row."""

    begin: int = Field(ge=0)
    end: int = Field(ge=0)
    first: int = Field(ge=0)
    count: int = Field(ge=1)


class WLAConfig(Config):
    """The whole model. Each expert reads the states of as many last backbone layers as it has blocks."""

    backbone: NanoBackboneConfig | QwenBackboneConfig
    queries: MetaQueryConfig
    action_expert: ActionExpertConfig
    world_expert: WorldExpertConfig
    codec: ImageCodecConfig
    max_world_samples: int | None = None
    """Train the World Expert on at most this many samples of each batch (None: all): it costs the most per sample."""

    @model_validator(mode="after")
    def _same_actions(self) -> Self:
        read, expert = self.world_expert.actions, self.action_expert
        if read is None:
            return self
        sizes = [(each.chunk, each.action_dim, each.state_dim) for each in (read, expert)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"world_expert.actions reads {read.chunk} x {read.action_dim} numbers from a state of "
                f"{read.state_dim}, the Action Expert's chunk is {expert.chunk} x {expert.action_dim} from a state of "
                f"{expert.state_dim}: they are the same actions"
            )
        return self

    @property
    def target_side(self) -> int:
        """Pixels along each side of the image that the World Expert imagines."""
        return self.world_expert.latent_size * self.codec.downsampling


class WLA(nn.Module):
    """`imagination=False` builds the model without World Expert and codec, which acting does not need."""

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

    def enable_activation_checkpointing(self) -> None:
        """From now on the backward pass computes what happens inside each block again instead of keeping it."""
        self.backbone.enable_activation_checkpointing()
        self.action_expert.activation_checkpointing = True
        if self.world_expert is not None:
            self.world_expert.activation_checkpointing = True

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Losses:
        """The three losses of a batch. Noise and times come from `generator`, so a step can be repeated exactly."""
        context = self.backbone.encode(batch.tokens, batch.attention_mask, batch.images)
        zero = context.last.new_zeros((), dtype=torch.float32)
        labelled = batch.labels != IGNORE_INDEX
        language = zero
        if labelled.any():
            language = next_token_loss(self.backbone.logits(context.last[labelled]), batch.labels[labelled])
        if not (batch.action_mask.any() or batch.subgoal_mask.any()):
            return Losses(zero, zero, language)
        query_hidden = self.query_hidden(context, batch.tokens)
        action = zero
        if batch.action_mask.any():
            has = batch.action_mask.any(dim=(1, 2)).nonzero()[:, 0]
            states = [layer[has] for layer in query_hidden]
            action = self.action_expert.loss(
                states, batch.state[has], batch.actions[has], batch.action_mask[has], generator
            )
        return Losses(action, self._world_loss(batch, context, query_hidden, generator), language)

    def prefill(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
    ) -> Context:
        """The prompt, up to where the subtask text begins."""
        return self.backbone.encode(tokens, attention_mask, images, keep_cache=True)

    def next_tokens(
        self, context: Context, drafts: Sequence[Sequence[int]], tails: Sequence[int]
    ) -> list[Int64[Tensor, " _"]]:
        """What the model says itself at each place of a draft that was read with the prompt, and what after it.

        drafts: of each sample, in front of its last `tails` tokens that were read; an empty one is the prompt's end.
        """
        length = context.last.shape[1]
        places = [
            torch.arange(length - tail - len(draft) - 1, length - tail)
            for draft, tail in zip(drafts, tails, strict=True)
        ]
        states = torch.cat([context.last[row, place] for row, place in enumerate(places)])
        return list(self.backbone.logits(states).argmax(-1).split([len(place) for place in places]))

    def decode_text(
        self, context: Context, tokens: Int64[Tensor, " B"], generated: Sequence[Sequence[int]], stop: int, limit: int
    ) -> tuple[Context, list[list[int]]]:
        """Greedy decoding from the same cache until every sample said `stop` or `limit` tokens.

        said: what each has said so far; tokens: what it says next.
        """
        texts = [list(text) for text in generated]
        while True:
            running = torch.tensor(
                [token != stop and len(text) < limit for token, text in zip(tokens.tolist(), texts, strict=True)],
                device=tokens.device,
            )
            if not running.any():
                return context, texts
            for text, token, runs in zip(texts, tokens.tolist(), running.tolist(), strict=True):
                if runs:
                    text.append(token)
            context = self.backbone.extend(context, tokens[:, None], running[:, None])
            ended = torch.full_like(tokens, stop)
            tokens = torch.where(running, self.backbone.logits(context.last[:, -1]).argmax(-1), ended)

    def encode_queries(
        self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], drop: Int64[Tensor, " B"]
    ) -> list[Float[Tensor, "B Q D"]]:
        """Query states of the layers that the experts read; tokens end with the meta-queries.

        drop: how many of the last tokens read are to be forgotten first.
        """
        return self.query_hidden(self.backbone.extend(truncate_cache(context, drop), tokens, mask), tokens)

    def sample_actions(
        self,
        query_hidden: list[Float[Tensor, "B Q D"]],
        state: Float[Tensor, "B S"],
        noise: Float[Tensor, "R n A"],
    ) -> Float[Tensor, "R n A"]:
        """Normalised action chunks, one or several for each sample: row r is of sample r mod B."""
        return self.action_expert.sample(query_hidden, state, noise)

    def imagine(
        self,
        context: Context,
        query_hidden: list[Float[Tensor, "B Q D"]],
        image: UInt8[Tensor, "B H W 3"],
        noise: Float[Tensor, "B K C h w"],
        unconditional: tuple[Context, list[Float[Tensor, "B Q D"]]] | None = None,
        num_steps: int | None = None,
        actions: Float[Tensor, "B K n A"] | None = None,
        state: Float[Tensor, "B S"] | None = None,
    ) -> UInt8[Tensor, "B K _ _ 3"]:
        """What the primary camera, which shows `image` now, may show after the chunk: one image for each noise.

        empty: the same read with an empty instruction, for a World Expert with guidance. steps: see
        `WorldExpert.sample`. actions: normalised candidates, for an expert that reads them, and the normalised state
        that they start from.
        """
        assert self.world_expert is not None, "built without imagination"
        assert self.codec is not None
        current_latent = self._current_latent(image)
        count, action_condition = noise.shape[1], None
        if actions is not None:
            assert state is not None, "actions start from a state"
            action_condition = ActionCondition(actions.flatten(0, 1), state.repeat_interleave(count, 0))
        condition = self._world_condition(context, query_hidden, current_latent, count, action_condition)
        without = (
            None
            if unconditional is None
            else self._world_condition(*unconditional, current_latent, count, action_condition)
        )
        latent = self.world_expert.sample(condition, noise.flatten(0, 1), without, num_steps)
        images = self.codec.decode(latent[:, : self.config.codec.latent_channels])
        return images.unflatten(0, (-1, count))

    def _world_condition(
        self,
        context: Context,
        query_hidden: list[Float[Tensor, "B Q D"]],
        current_latent: Float[Tensor, "B C h w"] | None,
        count: int,
        action_condition: ActionCondition | None,
    ) -> WorldCondition:
        """For each sample `count` rows, which are the same where nothing is told of what will be done."""
        assert self.world_expert is not None
        image = context.images[self.backbone.primary]
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
        context: Context,
        query_hidden: list[Float[Tensor, "B Q D"]],
        generator: torch.Generator | None,
    ) -> Float[Tensor, ""]:
        chosen = batch.subgoal_mask.nonzero()[:, 0]
        if self.world_expert is None or self.codec is None or batch.subgoal is None or len(chosen) == 0:
            return context.last.new_zeros((), dtype=torch.float32)
        if self.config.max_world_samples is not None:
            order = torch.randperm(len(chosen), generator=generator)[: self.config.max_world_samples]
            chosen = chosen[order.to(chosen.device)]
        action_condition = None
        if self.config.world_expert.actions is not None:
            kept = torch.rand(len(chosen), generator=generator) >= self.config.world_expert.actions.condition_dropout
            known = batch.action_mask[chosen].any(-1) & kept.to(chosen.device)[:, None]
            action_condition = ActionCondition(batch.actions[chosen], batch.state[chosen], known)
        condition = self.world_expert.condition(
            context.images[self.backbone.primary][chosen],
            [layer[chosen] for layer in query_hidden],
            self._current_latent(batch.images[self.backbone.primary][chosen]),
            action_condition,
        )
        later, pixel_error = batch.subgoal[chosen], None
        if self.config.world_expert.pixel_loss_weight:
            pixel_error = partial(self.codec.pixel_error, later)
        return self.world_expert.loss(condition, self.codec.encode(later), generator, pixel_error)

    def query_hidden(self, context: Context, tokens: Int64[Tensor, "B T"]) -> list[Float[Tensor, "B Q D"]]:
        """The states of the queries among the tokens that were read last, for the layers that an expert reads."""
        first, count = self.config.queries.first, self.config.queries.count
        is_query = (tokens >= first) & (tokens < first + count)
        read = max(self.config.action_expert.layers, self.config.world_expert.layers)
        return [states[is_query].view(-1, count, states.shape[-1]) for states in context.layers[-read:]]


def truncate_cache(context: Context, drop: Int64[Tensor, " B"]) -> Context:
    """The context as if so many of the last tokens had never been read."""
    kept = context.attention_mask
    last = kept.flip(1).long().cumsum(1).flip(1)  # the last token that counts is 1, the one before it 2
    return replace(context, attention_mask=kept & (last > drop[:, None]))
