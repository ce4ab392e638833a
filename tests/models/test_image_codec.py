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
