from __future__ import annotations

import torch
from tiny import model_config

from wla.models.image_codec import ImageCodec


def test_decoded_images_are_uint8_in_the_shape_of_the_input():
    codec = ImageCodec(model_config().codec)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    latents = codec.encode(images)
    assert latents.shape == (2, 4, 8, 8)
    decoded = codec.decode(latents)
    assert decoded.shape == images.shape
    assert decoded.dtype == torch.uint8


def test_pixels_are_scaled_in_single_precision_for_half_precision_weights():
    torch.manual_seed(0)
    codec = ImageCodec(model_config().codec)
    shades = torch.arange(256, dtype=torch.uint8).repeat(12).view(1, 32, 32, 3)
    expected = codec.to_unit(shades).bfloat16()
    assert torch.equal(codec.bfloat16().to_unit(shades), expected)


def test_pixel_error_is_differentiable_in_the_latents():
    torch.manual_seed(0)
    codec = ImageCodec(model_config().codec).requires_grad_(False)
    latents = torch.randn(2, 4, 8, 8, requires_grad=True)
    images = codec.decode(latents)
    assert codec.pixel_error(images, latents) < 1e-3  # rounding and clipping
    error = codec.pixel_error(255 - images, latents)
    error.backward()
    assert latents.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    assert codec.pixel_error(255 - images, latents.detach() - 0.01 * latents.grad / latents.grad.norm()) < error
