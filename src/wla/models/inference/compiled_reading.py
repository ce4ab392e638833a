"""A nano backbone that reads by compiled functions, and the drafts that it reads from masked tokens.

What the functions do not cover is computed by the reference, and named once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from wla.models.backbones.base import Backbone, Context
from wla.models.backbones.nano import NanoBackbone, module_name
from wla.models.inference.image_features import Function, ImageFeatures
from wla.models.inference.layout import onednn_computes
from wla.models.inference.limits import Limits
from wla.models.inference.reading import read_image
from wla.models.masked_drafter import MaskedDrafter

ONEDNN_LENGTHS = 16
"""Lengths of prompts and of their last part are multiples of it where oneDNN computes products: it makes code for each
number of rows when it meets one, 0.6 ms for each product."""


def rounded_up(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


@dataclass
class CachedKeysValues:
    """Keys and values of all tokens of a context."""

    tensors: list[Tensor]

    def batch_select_indices(self, indices: Int64[Tensor, " R"]) -> None:
        """Keeps these rows."""
        self.tensors = [tensor[indices] for tensor in self.tensors]


class CompiledBackbone(Backbone):
    """A nano backbone that reads images, prompts and texts by compiled functions."""

    def __init__(self, reference: NanoBackbone, functions: Mapping[str, Function]) -> None:
        super().__init__()
        self.reference = reference
        self.width, self.num_layers = reference.width, reference.num_layers
        self.image_tokens, self.primary = reference.image_tokens, reference.primary
        self.image_token, self.optional = reference.image_token, reference.optional
        self._read_prompt, self._read_text = functions["read_prompt"], functions.get("read_text")
        cameras = reference.config.cameras
        self._features = {side: ImageFeatures(functions[read_image(side)]) for side in set(cameras.values())}
        self._sides = dict(cameras)
        self._limits = Limits("prompts are read")
        self._lengths = ONEDNN_LENGTHS if onednn_computes() else 1
        self._filler = int(self.image_token == 0)

    def encode(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        *,
        keep_cache: bool = False,
    ) -> Context:
        return self.reference.encode(tokens, attention_mask, images, keep_cache=keep_cache)

    def read(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        last: int,
    ) -> Context:
        length = tokens.shape[1]
        if not self._limits.hold(rows=len(tokens), tokens=length):
            return self.reference.encode(tokens, attention_mask, images, keep_cache=True)
        tokens, attention_mask, _ = self.receive(tokens, attention_mask, tokens.device)
        padded = rounded_up(length, self._lengths) - length
        tokens = nn.functional.pad(tokens, (padded, 0), value=self._filler)
        attention_mask = nn.functional.pad(attention_mask, (padded, 0))
        features = {name: self._image_features(name, images[name]) for name in self.image_tokens}
        # The function takes prompts in two parts, of a token at least; the parts decide nothing but what is computed.
        length, last = padded + length, rounded_up(last, self._lengths)
        head = max(1, length - last)
        padding = length - attention_mask.sum(1, keepdim=True)
        found = self._read_prompt(tokens[:, :head], tokens[:, head:], padding, *features.values())
        return self._context(found, features, attention_mask)

    def last_state(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
    ) -> Float[Tensor, "B D"]:
        return self.read(tokens, attention_mask, images, last=1).last[:, -1]

    def extend(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        if self._read_text is None or not isinstance(context.cache, CachedKeysValues):
            return self.reference.extend(context, tokens, mask)
        found = self._read_text(tokens, mask, context.attention_mask, *context.cache.tensors)
        return self._context(found, context.images, torch.cat([context.attention_mask, mask], dim=1))

    def image_features(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B P D"]:
        return self.reference.image_features(images)

    def logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        return self.reference.logits(states)

    def enable_activation_checkpointing(self) -> None:
        self.reference.enable_activation_checkpointing()

    def _image_features(self, name: str, images: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B P D"]:
        return self._features[self._sides[name]](images) + self.reference.stem.positions[module_name(name)]

    def _context(
        self, found: Sequence[Tensor], features: dict[str, Float[Tensor, "B P D"]], mask: Bool[Tensor, "B T_all"]
    ) -> Context:
        following, *rest = found
        layers, cached = rest[: self.num_layers], rest[self.num_layers :]
        return Context(layers, features, mask, CachedKeysValues(cached), following=following)


class CompiledDrafter(nn.Module):
    """Drafts by a compiled function."""

    def __init__(self, reference: MaskedDrafter, read: Function) -> None:
        super().__init__()
        self.reference = reference
        self._read = read

    def draft(
        self, backbone: Backbone, context: Context, tokens: Int64[Tensor, " B"], running: Bool[Tensor, " B"]
    ) -> Int64[Tensor, "B K"]:
        """See `MaskedDrafter.draft`."""
        assert isinstance(backbone, CompiledBackbone), "they are compiled together"
        if not isinstance(context.cache, CachedKeysValues):
            return self.reference.draft(backbone.reference, context, tokens, running)
        rows = self.reference.masked(backbone, tokens)
        found, *_ = self._read(rows, running[:, None].expand_as(rows), context.attention_mask, *context.cache.tensors)
        return found
