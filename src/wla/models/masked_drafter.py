"""Drafts of several text tokens in one pass: masked tokens after the text so far, read by an adapted backbone.

Masks for the tokens to come, which low-rank adapters teach a language model that otherwise stays as it is: Samragh et
al. 2025 (arXiv 2507.11851). The backbone verifies each draft (`speculative_decoding`), so texts never change.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import DynamicCache

from wla.batch import Batch
from wla.models.backbones.base import Backbone, Context
from wla.models.configs import MaskedDraftsConfig
from wla.models.losses import next_token_loss
from wla.models.speculative_decoding import truncate_cache
from wla.types import IGNORE_INDEX

BackboneT = TypeVar("BackboneT", bound=Backbone)


class LowRank(nn.Module):
    """Change of a matrix (E, D) of that rank; none at first."""

    def __init__(self, matrix: Float[Tensor, "E D"], rank: int) -> None:
        super().__init__()
        rows, columns = matrix.shape
        self.down = nn.Parameter(torch.randn(rank, columns) * columns**-0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, matrix: Float[Tensor, "E D"]) -> Float[Tensor, "E D"]:
        return matrix + self.up @ self.down


class MaskedDrafter(nn.Module):
    """Adapters of a backbone's text layers, with which it reads masks; without them it is what it was.

    A mask is the placeholder of images, which texts never hold: all masks are alike but for their positions.
    """

    def __init__(self, backbone: Backbone, layers: str, config: MaskedDraftsConfig) -> None:
        """layers: name of the backbone's module list of text layers."""
        super().__init__()
        self.config = config
        self.names = [
            f"{layers}.{name}.weight"
            for name, module in backbone.get_submodule(layers).named_modules()
            if isinstance(module, nn.Linear)
        ]
        self.adapters = nn.ModuleList(LowRank(backbone.get_parameter(name), config.rank) for name in self.names)

    def adapted(self, backbone: Backbone) -> dict[str, Float[Tensor, "E D"]]:
        """The backbone's matrices by name, with the adapters."""
        pairs = zip(self.names, self.adapters, strict=True)
        return {name: adapter(backbone.get_parameter(name)) for name, adapter in pairs}

    def adapted_copy(self, backbone: BackboneT) -> BackboneT:
        """A copy of the backbone that reads as with the adapters."""
        copied = copy.deepcopy(backbone)
        with torch.no_grad():
            for name, matrix in self.adapted(backbone).items():
                copied.get_parameter(name).copy_(matrix)
        return copied

    def masked(self, backbone: Backbone, tokens: Int64[Tensor, " B"]) -> Int64[Tensor, "B K"]:
        """What a pass reads: each token, then masks."""
        masks = tokens.new_full((len(tokens), self.config.tokens - 1), backbone.image_token)
        return torch.cat([tokens[:, None], masks], dim=1)

    def logits(
        self, backbone: Backbone, context: Context, tokens: Int64[Tensor, " B"], running: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B K vocabulary"]:
        """Logits of the K tokens after each of these, which follow the context; it stays as it is.

        running: rows that are read; the others' logits mean nothing.
        """
        rows = self.masked(backbone, tokens)
        mask = running[:, None].expand_as(rows)
        weights = {f"backbone.{name}": matrix for name, matrix in self.adapted(backbone).items()}
        assert isinstance(context.cache, DynamicCache), "encode with keep_cache=True before drafts are made"
        kept = replace(context, cache=_kept(context.cache))
        return backbone.logits(torch.func.functional_call(_Extended(backbone), weights, (kept, rows, mask)).last)

    def draft(
        self, backbone: Backbone, context: Context, tokens: Int64[Tensor, " B"], running: Bool[Tensor, " B"]
    ) -> Int64[Tensor, "B K"]:
        """The most likely ones of `logits`."""
        return self.logits(backbone, context, tokens, running).argmax(-1)

    def loss(self, backbone: Backbone, batch: Batch, generator: torch.Generator | None = None) -> Float[Tensor, ""]:
        """Cross entropy of the tokens after a random one of each text, up to the end of the text.

        What is before that token is read without adapters and without gradients, as the backbone will have read it.
        """
        with torch.no_grad():
            context = backbone.encode(batch.tokens, batch.attention_mask, batch.images, keep_cache=True)
        length, known = batch.labels.shape[1], batch.labels != IGNORE_INDEX
        begins = known & known.roll(-1, dims=1)  # a token follows, and it is not the last one
        draw = torch.rand(known.shape, generator=generator).to(known.device)
        place = draw.masked_fill(~begins, -1.0).argmax(1)
        index = (place[:, None] + torch.arange(self.config.tokens + 1, device=known.device)).clamp(max=length - 1)
        labels = batch.labels.gather(1, index).masked_fill(~begins.any(1, keepdim=True), IGNORE_INDEX)
        context = truncate_cache(context, (length - 1 - place).tolist())
        logits = self.logits(backbone, context, labels[:, 0].clamp(min=0), begins.any(1))
        return next_token_loss(logits.flatten(0, 1), labels[:, 1:].flatten())


class _Extended(nn.Module):
    """`Backbone.extend` as the module that `functional_call` needs."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        return self.backbone.extend(context, tokens, mask)


def _kept(cache: DynamicCache) -> DynamicCache:
    """A cache with the same keys and values; what is added to it does not reach the other."""
    kept = copy.copy(cache)
    kept.layers = [copy.copy(layer) for layer in cache.layers]
    return kept
