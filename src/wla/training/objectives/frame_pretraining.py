"""Pretraining of a backbone on the frames of any dataset: it predicts image patches that it does not see.

No labels and no actions are needed. The patches are grey in the image, and two linear heads predict their pixels: from
the vision stem's tokens, and from the text layers' states at these tokens, so that both are trained.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from wla.batch import Batch
from wla.models.backbone_policy import BackbonePolicy
from wla.models.backbones.nano import NanoBackbone
from wla.models.model import PolicyModel
from wla.training.objective import StepLosses
from wla.training.objectives.configs import FramePretrainConfig
from wla.training.sampling import to_device

GREY = 128
_FLAT = 1e-2
"""Smallest standard deviation of a patch, of pixels in 0 .. 1: a plain surface would be noise otherwise."""


class MaskedPatches(nn.Module):
    """Heads and loss. The backbone is the policy's, and no part of this module."""

    def __init__(self, model: PolicyModel, config: FramePretrainConfig) -> None:
        """ValueError for a backbone that has no patches to hide."""
        super().__init__()
        if not isinstance(model, BackbonePolicy) or not isinstance(model.backbone, NanoBackbone):
            raise ValueError(
                "frame_pretraining: hides patches of nano's vision stem, and this model has none; leave it out"
            )
        self._backbone = (model.backbone,)  # in a tuple, so that its weights are not registered here
        self.steps, self._fraction = config.steps, config.mask_fraction
        self._stride = model.backbone.config.stride
        pixels = 3 * self._stride**2
        self.stem_head, self.layers_head = (nn.Linear(model.backbone.width, pixels) for _ in range(2))

    def compute_losses(self, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        """Terms: "loss", "patches_stem" and "patches_layers", mean squared errors of patches of variance 1."""
        (backbone,) = self._backbone
        batch = to_device(batch, device)
        images = {name: batch.images[name] for name in backbone.image_tokens}
        masks = {name: self._mask(image, generator) for name, image in images.items()}
        hidden = {name: self._hidden(image, masks[name]) for name, image in images.items()}
        context = backbone.encode(batch.tokens, batch.attention_mask, hidden)
        mask = torch.cat(list(masks.values()), dim=1)
        target = torch.cat([self._patches(image) for image in images.values()], dim=1)[mask]
        features = torch.cat(list(context.images.values()), dim=1)
        states = context.last[batch.tokens == backbone.config.image_token].view_as(features)
        stem = nn.functional.mse_loss(self.stem_head(features[mask]).float(), target)
        layers = nn.functional.mse_loss(self.layers_head(states[mask]).float(), target)
        return {"loss": stem + layers, "patches_stem": stem, "patches_layers": layers}, batch.ids

    def _mask(self, image: UInt8[Tensor, "B S S 3"], generator: torch.Generator) -> Bool[Tensor, "B P"]:
        """As many patches of each image, at least one and not all, where there are two or more."""
        count = (image.shape[1] // self._stride) ** 2
        number = min(max(1, round(self._fraction * count)), max(1, count - 1))
        order = torch.rand(len(image), count, generator=generator).argsort(dim=1)
        return (order < number).to(image.device)

    def _hidden(self, image: UInt8[Tensor, "B S S 3"], mask: Bool[Tensor, "B P"]) -> UInt8[Tensor, "B S S 3"]:
        side = math.isqrt(mask.shape[1])
        pixels = mask.view(-1, side, side).repeat_interleave(self._stride, 1).repeat_interleave(self._stride, 2)
        return image.masked_fill(pixels[..., None], GREY)

    def _patches(self, image: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B P K"]:
        """Each patch with mean 0 and variance 1: its structure, not its brightness."""
        side = image.shape[1] // self._stride
        grid = image.float().div(255).unflatten(2, (side, self._stride)).unflatten(1, (side, self._stride))
        patches = grid.transpose(2, 3).flatten(3).flatten(1, 2)
        spread = patches.std(-1, correction=0, keepdim=True).clamp(min=_FLAT)
        return (patches - patches.mean(-1, keepdim=True)) / spread
