"""The reference backbone as functions of tensors, to be traced: reading of prompts and texts, and the next tokens."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn
from torch.export import Dim
from transformers import DynamicCache

from wla.models.backbones.base import Backbone, Context
from wla.models.inference.examples import LENGTH, MAX_ROWS, MAX_TOKENS, ROWS, Example, read_text_example
from wla.models.wla import WLA


class ReadPrompt(nn.Module):
    """`Backbone.encode`, whose prompts are to be extended, as a function of tensors; see `flat_context`."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], *images: Tensor) -> list[Tensor]:
        """images: in the order of `Backbone.image_tokens`."""
        named = dict(zip(self.backbone.image_tokens, images, strict=True))
        context = self.backbone.encode(tokens, mask, named, keep_cache=True)
        return [*flat_context(context), *context.images.values()]


class ReadText(nn.Module):
    """`Backbone.extend` as a function of tensors; see `flat_context`."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"], past: Bool[Tensor, "B S"], *cached: Tensor
    ) -> list[Tensor]:
        """past: mask of the tokens so far; cached: their keys of each layer, then their values."""
        cache = DynamicCache()
        count = len(cached) // 2
        for layer, (keys, values) in enumerate(zip(cached[:count], cached[count:], strict=True)):
            cache.update(keys, values, layer)
        return flat_context(self.backbone.extend(Context([], {}, past, cache), tokens, mask))


def flat_context(context: Context) -> list[Tensor]:
    """Each layer's states of the last tokens, then each layer's keys and values of all tokens."""
    assert isinstance(context.cache, DynamicCache), "read to be extended"
    layers = context.cache.layers
    cached = [*(layer.keys for layer in layers), *(layer.values for layer in layers)]
    return [*context.layers, *(tensor.contiguous() for tensor in cached)]


class NextTokens(nn.Module):
    """The most likely token after each state of the last layer."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, states: Tensor) -> list[Tensor]:
        return [self.backbone.logits(states).argmax(-1)]


def reading_examples(model: WLA) -> dict[str, Example]:
    """An example for each function."""
    rows, length = Dim("rows", min=1, max=MAX_ROWS), Dim("length", min=1, max=MAX_TOKENS)
    images = [torch.zeros(ROWS, side, side, 3, dtype=torch.uint8) for side in model.config.interface.images.values()]
    tokens, mask = torch.zeros(ROWS, LENGTH, dtype=torch.int64), torch.ones(ROWS, LENGTH, dtype=torch.bool)
    prompt = ({0: rows, 1: length}, {0: rows, 1: length}, tuple({0: rows} for _ in images))
    states, sizes = torch.zeros(3, model.backbone.width), model.config.backbone.text_sizes
    return {
        "read_prompt": Example((tokens, mask, *images), prompt),
        "read_text": read_text_example(sizes, model.action_expert.positions.dtype, rows),
        "next_tokens": Example((states,), ({0: Dim("count", min=1, max=MAX_TOKENS)},)),
    }
