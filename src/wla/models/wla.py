"""The world-language-action model: one backbone reads, meta-queries gather the dynamics, two experts read the queries.

Training goes through `forward` (three losses); acting through `read` -> `decode_text` -> `read_queries` ->
`sample_actions` and, when an image is wanted, `imagine`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from wla.config import Config
from wla.models.action_expert import ActionExpert, ActionExpertConfig
from wla.models.backbone import Context
from wla.models.image_codec import ImageCodec, ImageCodecConfig
from wla.models.losses import Losses, next_token_loss
from wla.models.nano_backbone import NanoBackbone, NanoBackboneConfig
from wla.models.world_expert import WorldExpert, WorldExpertConfig
from wla.types import IGNORE, Batch


class MetaQueryConfig(Config):
    """Meta-queries are ordinary vocabulary entries: begin marker, end marker, then `count` queries in a row."""

    begin: int
    end: int
    first: int
    count: int

    @property
    def tokens(self) -> list[int]:
        """What is appended to a context: the begin marker and the queries (what follows cannot change them)."""
        return [self.begin, *range(self.first, self.first + self.count)]


class WLAConfig(Config):
    """The whole model. The experts read the states of the last `action_expert.layers` backbone layers."""

    backbone: NanoBackboneConfig
    queries: MetaQueryConfig
    action_expert: ActionExpertConfig
    world_expert: WorldExpertConfig
    codec: ImageCodecConfig
    world_samples: int | None = None
    """Train the World Expert on at most this many samples of each batch (None: all): it costs the most per sample."""


class WLA(nn.Module):
    """`imagination=False` builds the model without World Expert and codec, which acting does not need."""

    def __init__(self, config: WLAConfig, *, imagination: bool = True) -> None:
        super().__init__()
        self.config = config
        self.backbone = NanoBackbone(config.backbone)
        self.action_expert = ActionExpert(config.action_expert, self.backbone.width)
        self.world_expert: WorldExpert | None = None
        self.codec: ImageCodec | None = None
        if imagination:
            self.world_expert = WorldExpert(config.world_expert, self.backbone.width)
            self.codec = ImageCodec(config.codec).requires_grad_(False)

    @property
    def primary_camera(self) -> str:
        return next(iter(self.backbone.image_tokens))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Losses:
        """The three losses of a batch. Noise and times come from `generator`, so a step can be repeated exactly."""
        context = self.backbone.read(batch.tokens, batch.attention_mask, batch.images)
        zero = context.last.new_zeros((), dtype=torch.float32)
        labelled = batch.labels != IGNORE
        language = zero
        if labelled.any():
            language = next_token_loss(self.backbone.logits(context.last[labelled]), batch.labels[labelled])
        if not (batch.action_mask.any() or batch.subgoal_mask.any()):
            return Losses(zero, zero, language)
        queries = self._query_states(context, self._is_query(batch.tokens))
        action = zero
        if batch.action_mask.any():
            has = batch.action_mask.any(dim=(1, 2)).nonzero()[:, 0]
            states = [layer[has] for layer in queries]
            action = self.action_expert.loss(
                states, batch.state[has], batch.actions[has], batch.action_mask[has], generator
            )
        return Losses(action, self._world_loss(batch, context, queries, generator), language)

    def read(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
    ) -> Context:
        """The prompt, up to where the subtask text begins."""
        return self.backbone.read(tokens, attention_mask, images, keep_cache=True)

    def decode_text(self, context: Context, stop: int, limit: int) -> tuple[Context, list[list[int]]]:
        """Greedy decoding from the same cache until every sample said `stop` or `limit` tokens were read."""
        batch = len(context.attention_mask)
        texts: list[list[int]] = [[] for _ in range(batch)]
        running = torch.ones(batch, dtype=torch.bool, device=context.last.device)
        for _ in range(limit):
            tokens = self.backbone.logits(context.last[:, -1]).argmax(-1)
            running = running & (tokens != stop)
            if not running.any():
                break
            for text, token, runs in zip(texts, tokens.tolist(), running.tolist(), strict=True):
                if runs:
                    text.append(token)
            context = self.backbone.extend(context, tokens[:, None], running[:, None])
        return context, texts

    def read_queries(self, context: Context, before: list[int]) -> list[Float[Tensor, "B Q D"]]:
        """Query states of the layers that the experts read; `before` are the tokens between text and begin marker."""
        tokens = torch.tensor([before + self.config.queries.tokens], device=context.last.device)
        tokens = tokens.expand(len(context.attention_mask), -1)
        context = self.backbone.extend(context, tokens, torch.ones_like(tokens, dtype=torch.bool))
        return self._query_states(context, self._is_query(tokens))

    def sample_actions(
        self,
        queries: list[Float[Tensor, "B Q D"]],
        state: Float[Tensor, "B S"],
        noise: Float[Tensor, "B n A"],
    ) -> Float[Tensor, "B n A"]:
        """Normalised action chunk."""
        return self.action_expert.sample(queries, state, noise)

    def imagine(
        self,
        context: Context,
        queries: list[Float[Tensor, "B Q D"]],
        image: UInt8[Tensor, "B H W 3"],
        noise: Float[Tensor, "B C h w"],
    ) -> UInt8[Tensor, "B H W 3"]:
        """What the primary camera, which shows `image` now, will show after the chunk."""
        assert self.world_expert is not None, "built without imagination"
        assert self.codec is not None
        condition = self.world_expert.condition(context.images[self.primary_camera], queries, self._present(image))
        return self.codec.decode(self.world_expert.sample(condition, noise))

    def _present(self, image: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B C h w"] | None:
        """The latent of the current primary image, for a World Expert that sees it."""
        assert self.codec is not None
        return self.codec.encode(image) if self.config.world_expert.sees_present else None

    def _world_loss(
        self,
        batch: Batch,
        context: Context,
        queries: list[Float[Tensor, "B Q D"]],
        generator: torch.Generator | None,
    ) -> Float[Tensor, ""]:
        chosen = batch.subgoal_mask.nonzero()[:, 0]
        if self.world_expert is None or self.codec is None or batch.subgoal is None or len(chosen) == 0:
            return context.last.new_zeros((), dtype=torch.float32)
        if self.config.world_samples is not None:
            order = torch.randperm(len(chosen), generator=generator)[: self.config.world_samples]
            chosen = chosen[order.to(chosen.device)]
        condition = self.world_expert.condition(
            context.images[self.primary_camera][chosen],
            [layer[chosen] for layer in queries],
            self._present(batch.images[self.primary_camera][chosen]),
        )
        return self.world_expert.loss(condition, self.codec.encode(batch.subgoal[chosen]), generator)

    def _is_query(self, tokens: Int64[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
        first = self.config.queries.first
        return (tokens >= first) & (tokens < first + self.config.queries.count)

    def _query_states(self, context: Context, is_query: Bool[Tensor, "B T"]) -> list[Float[Tensor, "B Q D"]]:
        count = self.config.queries.count
        layers = context.layers[-self.config.action_expert.layers :]
        return [states[is_query].view(-1, count, states.shape[-1]) for states in layers]
