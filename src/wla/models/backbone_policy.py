"""What all policies with a vision-language backbone share: it reads the prompt, generates text, and meta-queries at the
end of the sequence gather what acting and imagining need."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wla.batch import Batch, TargetRows, left_pad
from wla.models.backbones.base import Backbone, Context
from wla.models.configs import BackbonePolicyConfig
from wla.models.losses import next_token_loss
from wla.models.masked_drafter import MaskedDrafter
from wla.models.model import ModelEncoding, ModelInputs, PolicyModel, RecomputedPart
from wla.models.speculative_decoding import decode, truncate_cache
from wla.runtime import upload


@dataclass(frozen=True)
class BackboneEncoding(ModelEncoding):
    """query_hidden: states of the meta-queries in the layers that the experts read. image: backbone features of the
    primary camera. action_states: what the chunk is made from, one tensor for each block that may read it: the states
    of the queries, or what a kind of model makes of them."""

    query_hidden: list[Float[Tensor, "B Q D"]]
    image: Float[Tensor, "B P D"]
    action_states: list[Float[Tensor, "B K E"]]


class Reading(NamedTuple):
    """What the backbone made of a training batch: everything, and the states of the meta-queries."""

    context: Context
    query_hidden: list[Float[Tensor, "B Q D"]]


class BackbonePolicy(PolicyModel[BackboneEncoding]):
    """Base of the models with a backbone. A subclass gives `query_losses`, and `sample_actions`."""

    config: BackbonePolicyConfig

    def __init__(self, config: BackbonePolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone: Backbone = config.backbone.build()
        drafts, layers = config.masked_drafts, config.backbone.text_layers
        self.drafter = None if drafts is None else MaskedDrafter(self.backbone, layers, drafts)

    @property
    def adapted_module(self) -> Backbone:
        return self.backbone

    def enable_activation_checkpointing(self, parts: Collection[RecomputedPart] | None = None) -> None:
        """From now on the backward pass recomputes the inside of each block of these parts instead of keeping it."""
        if parts is None or "backbone" in parts:
            self.backbone.enable_activation_checkpointing()

    def compute_loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Float[Tensor, ""]]:
        """The term `language` and those of the queries."""
        context = self.backbone.encode(batch.tokens, batch.attention_mask, batch.images)
        losses = dict.fromkeys(self.loss_targets, context.last.new_zeros((), dtype=torch.float32))
        rows = batch.target_rows()
        if len(rows.text):
            states = context.last.flatten(0, 1)[rows.text]
            losses["language"] = next_token_loss(self.backbone.logits(states), batch.labels.flatten()[rows.text])
        if len(rows.actions) or len(rows.subgoal):
            losses |= self.query_losses(batch, rows, Reading(context, self.query_hidden(context)), generator)
        return losses

    @abstractmethod
    def query_losses(
        self, batch: Batch, rows: TargetRows, reading: Reading, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms that the states of the queries are trained by, as far as the batch has targets for them."""

    def encode(self, inputs: ModelInputs) -> BackboneEncoding:
        """Reads prompts and given texts, then the meta-queries."""
        rows = [[*prompt, *text] for prompt, text in zip(inputs.prompts, inputs.texts, strict=True)]
        context = self.backbone.read(*left_pad(rows, inputs.layout.pad), inputs.images, last=1)
        states = self._read_queries(inputs, inputs.texts, context)
        return self._encoding(inputs, inputs.texts, states, context.images[self.backbone.primary])

    def generate(self, inputs: ModelInputs) -> BackboneEncoding:
        """Greedy texts and the meta-queries after them; one pass when the drafts hold (see `speculative_decoding`)."""
        texts, context, rows, rest = decode(self.backbone, inputs, self.drafter)
        present = context.images[self.backbone.primary]
        states = [] if len(rows) == len(texts) else self.query_hidden(context)
        if rest is not None:
            later = self._read_queries(inputs, [texts[row] for row in rows], rest)
            index = upload(torch.tensor(rows), present.device)
            states = (
                [old.index_copy(0, index, new) for old, new in zip(states, later, strict=True)] if states else later
            )
        return self._encoding(inputs, texts, states, present)

    def query_hidden(self, context: Context) -> list[Float[Tensor, "B Q D"]]:
        """States of the meta-queries, with which the tokens of the last pass end, in the layers that are read."""
        return [states[:, -self.config.queries.count :].contiguous() for states in context.layers[-self.layers_read :]]

    @property
    @abstractmethod
    def layers_read(self) -> int:
        """How many of the backbone's last layers are read."""

    def action_states(
        self,
        query_hidden: list[Float[Tensor, "B Q D"]],
        image: Float[Tensor, "B P D"],
        frame: UInt8[Tensor, "B H W 3"],
    ) -> list[Float[Tensor, "B K E"]]:
        """What acting reads: the states of the meta-queries, or what a subclass makes of these, of the backbone's
        features of the primary camera, and of its image."""
        return query_hidden

    def _encoding(
        self,
        inputs: ModelInputs,
        texts: Sequence[Sequence[int]],
        query_hidden: list[Float[Tensor, "B Q D"]],
        image: Float[Tensor, "B P D"],
    ) -> BackboneEncoding:
        states = self.action_states(query_hidden, image, inputs.images[self.backbone.primary])
        return BackboneEncoding(inputs, texts, query_hidden, image, states)

    def _read_queries(
        self, inputs: ModelInputs, texts: Sequence[Sequence[int]], context: Context
    ) -> list[Float[Tensor, "B Q D"]]:
        """States of the meta-queries, with which the layout's suffix ends, after the texts."""
        drops, endings = zip(*(inputs.layout.suffix_after(text) for text in texts), strict=True)
        context = self.backbone.extend(truncate_cache(context, drops), *left_pad(endings, inputs.layout.pad))
        return self.query_hidden(context)
