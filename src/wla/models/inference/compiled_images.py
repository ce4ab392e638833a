"""A model whose World Expert and image codec run compiled functions, with the methods and answers of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache, partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wla.models.experts.action_conditioning import ActionCondition
from wla.models.experts.world_expert import WorldCondition, WorldExpert
from wla.models.image_codec import ImageCodec
from wla.models.inference.examples import MAX_ROWS
from wla.models.inference.image_features import Function, ImageFeatures
from wla.models.inference.imagining import level_features
from wla.models.wla import WLA

KEPT_LEVELS = 256
"""Noise levels whose features are kept: 1.8 MB at a width of 256."""


class CompiledWorldExpert(nn.Module):
    """Imagination by two compiled functions: what all steps share, and the velocity of a step."""

    def __init__(self, reference: WorldExpert, start: Function, velocity: Function) -> None:
        super().__init__()
        self.reference = reference
        self._start, self._velocity = start, velocity
        self._level = lru_cache(maxsize=KEPT_LEVELS)(partial(level_features, reference))

    def condition(
        self,
        image: Float[Tensor, "B P D"],
        query_hidden: list[Float[Tensor, "B Q D"]],
        current_latent: Float[Tensor, "B C h w"] | None = None,
        action_condition: ActionCondition | None = None,
    ) -> WorldCondition:
        """See `WorldExpert.condition`; what a block attends to are keys and values."""
        self.reference.require_frame(current_latent)
        states = self.reference.query_states(query_hidden, action_condition)
        return WorldCondition(in_batches(self._start, image, *states), current_latent)

    def sample(
        self,
        condition: WorldCondition,
        noise: Float[Tensor, "B C h w"],
        unconditional: WorldCondition | None = None,
        num_steps: int | None = None,
    ) -> Float[Tensor, "B C h w"]:
        """See `WorldExpert.sample`."""

        def velocity(x: Float[Tensor, "R C h w"], s: float, both: WorldCondition) -> Float[Tensor, "R C h w"]:
            if both.current_latent is not None:
                x = torch.cat([x, both.current_latent], dim=1)
            features = self._level(s)
            (moved,) = in_batches(lambda x, *layers: self._velocity(x, features, *layers), x, *both.layers)
            return moved

        return self.reference.integrate(velocity, condition, noise, unconditional, num_steps)


class CompiledCodec(nn.Module):
    """Images to latents, each image once while it is known, and back."""

    def __init__(self, reference: ImageCodec, encode: Function | None, decode: Function) -> None:
        """encode: None where no current frame is read."""
        super().__init__()
        self.reference = reference
        self._latents = None if encode is None else ImageFeatures(partial(in_batches, encode))
        self._decode = decode

    def encode(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B C h w"]:
        """See `ImageCodec.encode`."""
        return self.reference.encode(images) if self._latents is None else self._latents(images)

    def decode(self, latents: Float[Tensor, "B C h w"]) -> UInt8[Tensor, "B H W 3"]:
        """See `ImageCodec.decode`."""
        (images,) = in_batches(self._decode, latents)
        return images


def in_batches(function: Callable[..., Sequence[Tensor]], *rows: Tensor) -> list[Tensor]:
    """The outputs of a function of rows, as many at a time as compiled functions take."""
    parts = [function(*batch) for batch in zip(*(tensor.split(MAX_ROWS) for tensor in rows), strict=True)]
    return list(parts[0]) if len(parts) == 1 else [torch.cat(found) for found in zip(*parts, strict=True)]


def with_image_functions(model: WLA, functions: Mapping[str, Function]) -> WLA:
    """A model that shares all weights with `model` and predicts images by these functions."""
    assert model.world_expert is not None, "loaded with imagination"
    assert model.codec is not None
    fast = copy(model)
    fast._modules = dict(model._modules)
    fast._modules["world_expert"] = CompiledWorldExpert(
        model.world_expert, functions["start_images"], functions["image_velocity"]
    )
    encode = functions.get("encode_image")
    fast._modules["codec"] = CompiledCodec(model.codec, encode, functions["decode_image"])
    return fast
