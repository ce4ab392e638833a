"""Interface of vision-language backbones: encode a prompt, extend it with text, turn states into logits.

Everything behind this interface may differ (a tiny network with a convolutional stem, Qwen3-VL); everything in front of
it (meta-queries, connector, experts, text decoding, losses) is shared.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from wla.runtime import upload

# transformers 5.24 gave the layers' cache another name; the old one goes with 5.40.
CACHE = "cache" if "cache" in inspect.signature(Qwen3DecoderLayer.forward).parameters else "past_key_values"


class Cache(Protocol):
    """Keys and values of the tokens so far, in the form that the backbone has made them."""

    def batch_select_indices(self, indices: Int64[Tensor, " R"]) -> object:
        """Keeps these rows."""
        ...


@dataclass
class Context:
    """State of the backbone after the tokens so far.

    layers: hidden states (B, T, D) per layer of the tokens of the *last* call, before the final norm.
    images: camera -> features (B, P, D) as they entered the text layers.
    attention_mask: (B, T_all) over all tokens so far.
    cache: keys and values of all tokens so far, or None when the context is not to be extended.
    shift: (B, 1), position of a text token minus its index (images may take fewer positions than tokens).
    unpadded: whether the host knows that no token is masked.
    following: the most likely token after each of those that have states, where it was found with them.
    """

    layers: list[Float[Tensor, "B T D"]]
    images: dict[str, Float[Tensor, "B P D"]]
    attention_mask: Bool[Tensor, "B T_all"]
    cache: Cache | None
    shift: Int64[Tensor, "B 1"] | int = 0
    unpadded: bool = False
    following: Int64[Tensor, "B T"] | None = None

    @property
    def last(self) -> Float[Tensor, "B T D"]:
        """Hidden states of the last layer."""
        return self.layers[-1]


class Backbone(nn.Module, ABC):
    """Interface of a backbone.

    width: hidden size D.
    num_layers: number of text layers L.
    image_tokens: image -> number of placeholder tokens P, in the order of the prompt.
    image_token: the placeholder's id.
    primary: name of the image whose future the World Expert imagines.
    optional: images that a prompt may lack, all of them or none.
    traceable: whether `encode` and `extend` look at shapes alone, and never at values, so that they can be compiled.
    """

    traceable: ClassVar[bool] = False

    width: int
    num_layers: int
    image_tokens: dict[str, int]
    image_token: int
    primary: str
    optional: frozenset[str] = frozenset()

    @abstractmethod
    def encode(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        *,
        keep_cache: bool = False,
    ) -> Context:
        """Encode left-padded prompts; image placeholders are filled in the order of `image_tokens`.

        Args:
            tokens: token ids (B, T), on the host or with the weights. A row with fewer placeholders than all images
                need lacks its history image.
            attention_mask: (B, T), False for padding; where the tokens are.
            images: image -> uint8 pixels (B, H, W, 3).
            keep_cache: whether keys and values are stored for `extend`.

        Raises:
            ValueError: a prompt on the host has another number of placeholders than the images have tokens.
        """

    def read(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        last: int,
    ) -> Context:
        """`encode` for prompts that are to be extended, with states for as many of the last tokens at least."""
        return self.encode(tokens, attention_mask, images, keep_cache=True)

    def last_state(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
    ) -> Float[Tensor, "B D"]:
        """The last token's state after the last layer, of prompts as in `encode`."""
        return self.encode(tokens, attention_mask, images).last[:, -1]

    @abstractmethod
    def extend(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        """Encode further text after a context with a cache (which is consumed).

        Args:
            context: from `encode` with keep_cache or from `extend`.
            tokens: token ids (B, T), on the host or with the weights.
            mask: (B, T); tokens with False neither take a position nor are attended to.
        """

    @abstractmethod
    def image_features(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B P D"]:
        """Features of images of the primary camera, as those of a prompt's are when they enter the text layers."""

    @abstractmethod
    def logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        """Next-token logits from last-layer states (the final norm is applied here)."""

    @abstractmethod
    def enable_activation_checkpointing(self) -> None:
        """Recompute the activations inside each layer in the backward pass instead of storing them."""

    def receive(
        self, tokens: Int64[Tensor, "B T"], attention_mask: Bool[Tensor, "B T"], device: torch.device
    ) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"], bool]:
        """Prompts on the device of the weights, and whether the host knows that they are not padded.

        Counts are checked where the host has the tokens; elsewhere the device stops on its own, without being waited
        for. ValueError as in `encode`.
        """
        if torch.compiler.is_compiling():  # a function of any values, whose caller has checked them
            return tokens, attention_mask, False
        needed = sum(self.image_tokens.values())
        least = needed - sum(self.image_tokens[name] for name in self.optional)
        counts = (tokens == self.image_token).sum(1)
        right = (counts == needed) | (counts == least)
        if tokens.device.type != "cpu":
            torch._assert_async(right.all(), "a prompt has another number of image placeholders than its images")
            return tokens, attention_mask, False
        if not right.all():
            without = f", or {least} without the history images" if self.optional else ""
            raise ValueError(
                f"a prompt has {int(counts[~right][0])} image placeholders; images {list(self.image_tokens)} "
                f"need {needed}{without}"
            )
        unpadded = bool(attention_mask.all())
        return upload(tokens, device), upload(attention_mask, device), unpadded


def causal_mask(attention_mask: Bool[Tensor, "B T_all"], new: int) -> Bool[Tensor, "B 1 T T_all"]:
    """Causal mask of the last `new` tokens: True for unmasked tokens up to the token itself, and for itself.

    A padding token, whose output is never used, attends to itself at least: attention knows no row without keys.
    """
    total = attention_mask.shape[1]
    order = torch.arange(total, device=attention_mask.device)
    rows = order[total - new :, None]
    return (order < rows) & attention_mask[:, None, None] | (order == rows)


def extended(
    context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> tuple[Int64[Tensor, "B T"], Context]:
    """The tokens with the weights, and the context that they extend: its mask covers them, its layers are to come."""
    assert context.cache is not None, "encode with keep_cache=True before extending"
    device = context.attention_mask.device
    unpadded = context.unpadded and mask.device.type == "cpu" and bool(mask.all())
    attention_mask = torch.cat([context.attention_mask, upload(mask, device)], dim=1)
    return upload(tokens, device), replace(context, layers=[], attention_mask=attention_mask, unpadded=unpadded)


def run_layers(
    layers: Iterable[nn.Module],
    x: Float[Tensor, "B T D"],
    context: Context,
    rotary: tuple[Tensor, Tensor],
    deepstack_features: Sequence[Float[Tensor, "B T D"]] = (),
) -> Context:
    """Runs new tokens through transformers' text layers and appends each layer's states to the context.

    Args:
        layers: decoder layers of transformers.
        x: embeddings (B, T, D) of the new tokens.
        context: its mask covers the new tokens; its cache, if any, is extended in place.
        rotary: cosines and sines of the new tokens' positions.
        deepstack_features: tensors to add to the states after the first layers, one per layer (Qwen3-VL).
    """
    new, total = x.shape[1], context.attention_mask.shape[1]
    fused = x.device.type != "cpu" and new == total
    mask = None if context.unpadded and (new == 1 or fused) else causal_mask(context.attention_mask, new)
    for index, layer in enumerate(layers):
        x = layer(x, attention_mask=mask, position_embeddings=rotary, **{CACHE: context.cache})
        if index < len(deepstack_features):
            x = x + deepstack_features[index]
        context.layers.append(x)
    return context


def fill_placeholders(
    embeddings: Float[Tensor, "B T D"],
    is_image: Bool[Tensor, "B T"],
    features: Float[Tensor, "P D"],
    index: Int64[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B T D"]:
    """Embeddings whose placeholders are replaced by image features.

    index: of the feature that each placeholder takes, and any valid one elsewhere; None for all in order.
    """
    index = (is_image.flatten().long().cumsum(0) - 1).clamp(min=0).view_as(is_image) if index is None else index
    return torch.where(is_image[..., None], features[index], embeddings)


def token_positions(attention_mask: Bool[Tensor, "B T_all"], new: int) -> Int64[Tensor, "B T"]:
    """Positions of the last `new` tokens: counts of unmasked tokens before each (padding and gaps take no position)."""
    return (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, attention_mask.shape[1] - new :]
