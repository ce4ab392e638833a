"""Finite scalar quantization (Mentzer et al. 2023, arXiv 2309.15505): every channel of a latent is rounded to levels.

There is no codebook that could collapse, and no loss beside the codec's own. Latents are normalised per channel before
they are bounded: without that an encoder soon leaves the range in which rounding changes, where it learns nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

_MARGIN = 1e-3
"""How far the range of the hyperbolic tangent reaches beyond the outermost levels."""
_EPSILON, _MOMENTUM = 1e-6, 0.05
"""Least variance, and the weight of a batch in the mean and the variance that are kept of latents."""


class FiniteScalarQuantizer(nn.Module):
    """Latents (B, C, h, w) <-> codes (B, h, w) from 0 to the product of the levels, which are given per channel.

    Quantized latents lie in [-1, 1]; gradients pass the rounding unchanged. Mean and variance of the latents are part
    of the weights: only `fit` changes them, whatever mode a model with this frozen in it is in.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.num_codes = math.prod(levels)
        self.register_buffer("mean", torch.zeros(len(levels)))
        self.register_buffer("variance", torch.ones(len(levels)))
        shape = (1, -1, 1, 1)
        count = torch.tensor(levels)
        steps = torch.tensor([math.prod(levels[:index]) for index in range(len(levels))])
        self.register_buffer("levels", count.view(shape), persistent=False)
        self.register_buffer("steps", steps.view(shape), persistent=False)

    def forward(self, latents: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """The nearest quantized latents."""
        return self._rounded(self._normalized(latents))

    def fit(self, latents: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """The same of latents normalised by this batch, whose mean and variance are taken in. For training a codec."""
        return self._rounded(self._normalized(latents, fit=True))

    def codes(self, latents: Float[Tensor, "B C h w"]) -> Int64[Tensor, "B h w"]:
        """Codes of the nearest quantized latents."""
        digits = self._bounded(self._normalized(latents)).round().long() + self._half
        return (digits * self.get_buffer("steps")).sum(1)

    def latents(self, codes: Int64[Tensor, "B h w"]) -> Float[Tensor, "B C h w"]:
        """Quantized latents of codes, the inverse of `codes`."""
        digits = codes[:, None] // self.get_buffer("steps") % self.get_buffer("levels")
        return (digits - self._half) / self._half

    @property
    def _half(self) -> Int64[Tensor, "1 C 1 1"]:
        return self.get_buffer("levels") // 2

    def _normalized(self, latents: Float[Tensor, "B C h w"], *, fit: bool = False) -> Float[Tensor, "B C h w"]:
        kept = self.get_buffer("mean").float(), self.get_buffer("variance").float()
        return nn.functional.batch_norm(latents.float(), *kept, training=fit, momentum=_MOMENTUM, eps=_EPSILON)

    def _rounded(self, normal: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        bounded = self._bounded(normal)
        return (bounded + (bounded.round() - bounded).detach()) / self._half

    def _bounded(self, latents: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        """Latents whose rounding has as many values per channel as there are levels, one more below 0 where even."""
        levels = self.get_buffer("levels")
        half = (levels - 1) * (1 + _MARGIN) / 2
        offset = 0.5 * (levels % 2 == 0)
        return (latents + (offset / half).atanh()).tanh() * half - offset
