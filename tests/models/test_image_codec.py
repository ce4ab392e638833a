from __future__ import annotations

import torch
from tiny import model_config

from wla.models.image_codec import ImageCodec


def test_codec_keeps_shapes_and_gives_bytes():
    codec = ImageCodec(model_config().codec)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    latents = codec.encode(images)
    assert latents.shape == (2, 4, 8, 8)
    decoded = codec.decode(latents)
    assert decoded.shape == images.shape
    assert decoded.dtype == torch.uint8


def test_shades_keep_their_precision_when_the_weights_are_halved():
    torch.manual_seed(0)
    codec = ImageCodec(model_config().codec)
    shades = torch.arange(256, dtype=torch.uint8).repeat(12).view(1, 32, 32, 3)
    wanted = codec.to_unit(shades).bfloat16()
    assert torch.equal(codec.bfloat16().to_unit(shades), wanted)


def test_latents_learn_from_the_images_that_they_decode_to():
    torch.manual_seed(0)
    codec = ImageCodec(model_config().codec).requires_grad_(False)
    latents = torch.randn(2, 4, 8, 8, requires_grad=True)
    images = codec.decode(latents)
    assert codec.pixel_error(images, latents) < 1e-3  # rounding, and what is beyond black and white
    error = codec.pixel_error(255 - images, latents)
    error.backward()
    assert latents.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    assert codec.pixel_error(255 - images, latents.detach() - 0.01 * latents.grad / latents.grad.norm()) < error
