"""Image similarity metrics: PSNR, SSIM and a perceptual distance on the features of the image codec."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from wla.models.image_codec import ImageCodec

MAX_PSNR = 60.0
"""Upper limit of the PSNR in dB, reached by (nearly) identical images."""


class ImageMetrics(NamedTuple):
    """One value per image. psnr: dB, higher is better. ssim: 1 for identical images. distance: perceptual distance, 0
    for identical images, at most 4."""

    psnr: Float[Tensor, " B"]
    ssim: Float[Tensor, " B"]
    distance: Float[Tensor, " B"]


def compare_images(
    prediction: UInt8[Tensor, "B H W 3"],
    target: UInt8[Tensor, "B H W 3"],
    mask: Bool[Tensor, "B H W"],
    codec: ImageCodec,
) -> ImageMetrics:
    """Returns the similarity of `prediction` to `target` on the masked pixels; NaN for images whose mask is empty.

    SSIM (Wang et al. 2004, Gaussian window of 11 pixels) and the distance also depend on the surroundings of each
    pixel, outside the mask too. The distance is LPIPS (Zhang et al. 2018) without learned weights, on the features of
    the codec's encoder: squared differences of unit vectors, averaged over the encoder's levels.
    """
    weight = mask.float()
    error = (prediction.float() - target.float()).square().mean(-1)
    psnr = -10 * torch.log10((_mean(error, weight) / 255**2).clamp(min=10 ** (-MAX_PSNR / 10)))
    similarity = structural_similarity_index_measure(
        _channels_first(prediction), _channels_first(target), data_range=255.0, reduction="none", return_full_image=True
    )
    assert isinstance(similarity, tuple)
    levels = []
    for predicted, true in zip(codec.features(prediction), codec.features(target), strict=True):
        distance = (_unit(predicted) - _unit(true)).square().sum(1)
        pooled_weight = nn.functional.adaptive_avg_pool2d(weight[:, None], (distance.shape[1], distance.shape[2]))
        levels.append(_mean(distance, pooled_weight[:, 0]))
    return ImageMetrics(psnr, _mean(similarity[1].mean(1), weight), torch.stack(levels).mean(0))


def _channels_first(images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    return images.permute(0, 3, 1, 2).float()


def _mean(values: Float[Tensor, "B h w"], weight: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
    return (values * weight).sum((1, 2)) / weight.sum((1, 2))


def _unit(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    return nn.functional.normalize(features.float(), dim=1)
