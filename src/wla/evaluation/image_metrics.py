"""How near an image is to the one that came: in levels (PSNR), in structure (SSIM), and to the eyes of a codec."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from wla.models.image_codec import ImageCodec

MAX_PSNR = 60.0
"""dB, for images that are (nearly) the same."""


class ImageMetrics(NamedTuple):
    """A value for each image. psnr: dB. ssim: 1 for the same. distance: 0 for the same, 4 at most."""

    psnr: Float[Tensor, " B"]
    ssim: Float[Tensor, " B"]
    distance: Float[Tensor, " B"]


def compare_images(
    prediction: UInt8[Tensor, "B H W 3"],
    target: UInt8[Tensor, "B H W 3"],
    where: Bool[Tensor, "B H W"],
    codec: ImageCodec,
) -> ImageMetrics:
    """The quality of `prediction` where the mask says; not a number for images whose mask is empty.

    SSIM (Wang et al. 2004: a Gaussian window of 11 pixels) and the distance look around each pixel, beyond the mask
    too. The distance is LPIPS (Zhang et al. 2018) without learned weights, on the features of the codec's encoder:
    squared differences of unit vectors, the mean over its levels.
    """
    weight = where.float()
    error = (prediction.float() - target.float()).square().mean(-1)
    psnr = -10 * torch.log10((_mean(error, weight) / 255**2).clamp(min=10 ** (-MAX_PSNR / 10)))
    similarity = structural_similarity_index_measure(
        _channels_first(prediction), _channels_first(target), data_range=255.0, reduction="none", return_full_image=True
    )
    assert isinstance(similarity, tuple)
    levels = []
    for mine, other in zip(codec.features(prediction), codec.features(target), strict=True):
        unlike = (_unit(mine) - _unit(other)).square().sum(1)
        levels.append(
            _mean(unlike, nn.functional.adaptive_avg_pool2d(weight[:, None], (unlike.shape[1], unlike.shape[2]))[:, 0])
        )
    return ImageMetrics(psnr, _mean(similarity[1].mean(1), weight), torch.stack(levels).mean(0))


def _channels_first(images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    return images.permute(0, 3, 1, 2).float()


def _mean(values: Float[Tensor, "B h w"], weight: Float[Tensor, "B h w"]) -> Float[Tensor, " B"]:
    return (values * weight).sum((1, 2)) / weight.sum((1, 2))


def _unit(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    return nn.functional.normalize(features.float(), dim=1)
