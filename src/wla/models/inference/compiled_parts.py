"""A model whose backbone and Action Expert run compiled functions, with the methods and answers of the reference.

What the functions do not cover is computed by the reference, and named once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from wla.models.backbones.base import Backbone, Context
from wla.models.backbones.nano import NanoBackbone, module_name
from wla.models.experts.action_expert import ActionExpert, is_own, repeat
from wla.models.inference.image_features import Function, ImageFeatures
from wla.models.inference.layout import onednn_computes
from wla.models.inference.limits import Limits
from wla.models.inference.reading import read_image
from wla.models.inference.sampling import cross_blocks, time_biases
from wla.models.realtime_chunking import times_after
from wla.models.wla import WLA

ONEDNN_LENGTHS = 16
"""Lengths of prompts and of their last part are multiples of it where oneDNN computes products: it makes code for each
number of rows when it meets one, 0.6 ms for each product."""
KEPT_TIMES = 256
"""Times of steps, with what is given at them, whose part of a step is kept: 1.3 MB at a width of 128."""


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


class CompiledActionExpert(nn.Module):
    """Sampling by two compiled functions: what all steps share, and the velocity of a step."""

    def __init__(self, reference: ActionExpert, start: Function, velocity: Function) -> None:
        super().__init__()
        self.reference = reference
        self._start, self._velocity = start, velocity
        self._crosses = cross_blocks(reference)
        self._time = lru_cache(maxsize=KEPT_TIMES)(partial(_time_bias, reference))
        self._limits = Limits("actions are sampled")

    def sample(
        self,
        query_hidden: list[Float[Tensor, "B Q C"]],
        state: Float[Tensor, "B S"],
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        *,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
        dims: Int64[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "R n A"]:
        """See `ActionExpert.sample`."""
        reference = self.reference
        if not self._limits.hold(rows=len(noise)):
            return reference.sample(query_hidden, state, noise, num_steps, prefix=prefix, delay=delay, dims=dims)
        repeats, steps = len(noise) // len(state), num_steps or reference.config.flow_steps
        layers = query_hidden[-len(reference.blocks) :]
        condition = self._start(reference.state_input(state), *(layers[index] for index in self._crosses))
        if repeats > 1:
            condition = [repeat(tensor, repeats) for tensor in condition]
        own = noise.new_ones(len(noise), 1, noise.shape[2]) if dims is None else repeat(is_own(dims, noise), repeats)

        def velocity(x: Float[Tensor, "R n A"], t: float, given: int) -> Float[Tensor, "R n A"]:
            (moved,) = self._velocity(x, self._time(t, given, steps == 1), own, *condition)
            return moved

        return reference.integrate(velocity, noise * own, steps, prefix, delay)


def _time_bias(expert: ActionExpert, t: float, given: int, one_step: bool) -> Float[Tensor, "n D"]:
    """The time's part of a step, of which the first `given` actions are given."""
    times = times_after(given, t, expert.config.chunk)
    return time_biases(expert, expert.time_features(times, one_step=one_step))


def with_functions(model: WLA, functions: Mapping[str, Function]) -> WLA:
    """A model that shares all weights with `model` and runs these functions. Those of the backbone may be missing."""
    fast = copy(model)
    fast._modules = dict(model._modules)
    if "read_prompt" in functions:
        assert isinstance(model.backbone, NanoBackbone), "no other has functions"
        fast._modules["backbone"] = CompiledBackbone(model.backbone, functions)
    fast._modules["action_expert"] = CompiledActionExpert(
        model.action_expert, functions["start_sampling"], functions["action_velocity"]
    )
    return fast
