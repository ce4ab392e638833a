from __future__ import annotations

import pytest
import torch

from wla.models.configs import residual_codec
from wla.models.image_codec import ImageCodec
from wla.models.quantizer import FiniteScalarQuantizer

LEVELS = (7, 5, 4, 3)


def test_all_codes_are_reached_and_are_inverted():
    quantizer = FiniteScalarQuantizer(LEVELS)
    assert quantizer.num_codes == 420
    codes = torch.arange(420).view(1, 21, 20)
    latents = quantizer.latents(codes)
    assert latents.abs().max() <= 1
    assert len(latents.flatten(2)[0].unique(dim=1).T) == 420
    found = quantizer.codes(6 * torch.rand(1, 4, 400, 400, generator=torch.Generator().manual_seed(0)) - 3)
    assert (int(found.min()), int(found.max()), len(found.unique())) == (0, 419, 420)


def test_quantized_latents_are_those_of_their_codes():
    quantizer = FiniteScalarQuantizer(LEVELS)
    latents = 3 * torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(quantizer(latents), quantizer.latents(quantizer.codes(latents)))


def test_gradients_pass_the_rounding():
    quantizer = FiniteScalarQuantizer((5,))
    latents = torch.linspace(-0.4, 0.4, 7).view(1, 1, 1, 7).requires_grad_()
    quantizer(latents).sum().backward()
    half = 4 * (1 + 1e-3) / 2
    expected = (1 - latents.detach().tanh() ** 2) * half / 2
    torch.testing.assert_close(latents.grad, expected)


def test_latents_of_any_scale_are_normalized_once_they_are_fit():
    quantizer = FiniteScalarQuantizer((8, 8))
    scale, shift = torch.tensor([50.0, 0.01]).view(1, 2, 1, 1), torch.tensor([300.0, -1.0]).view(1, 2, 1, 1)
    latents = shift + scale * torch.randn(8, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    assert len(quantizer.codes(latents).unique()) < 3, "as they are, they are out of range"
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer.train()
    quantizer(latents)
    quantizer.codes(latents)
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items()), "a frozen codec"
    for _ in range(200):
        fitted = quantizer.fit(latents)
    assert len(quantizer.codes(latents).unique()) > 40
    torch.testing.assert_close(quantizer(latents), fitted, atol=0.3, rtol=0)  # the same but for some on a border


def test_an_encoder_with_large_outputs_still_gets_gradients():
    quantizer = FiniteScalarQuantizer((8,))
    latents = (100 + torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    (quantizer.fit(latents) * torch.linspace(-1, 1, 6)).sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().max() > 0.1


def test_a_codec_with_levels_maps_images_to_codes_and_back():
    config = residual_codec(latent_channels=4, channels=(8, 8, 8), layers=(0, 1, 1), levels=LEVELS)
    codec = ImageCodec(config)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    codes = codec.codes(images)
    assert codes.shape == (2, 8, 8)
    assert 0 <= int(codes.min()) <= int(codes.max()) < config.num_codes == 420
    torch.testing.assert_close(codec.decode_codes(codes), codec.decode(codec.encode(images)))
    with pytest.raises(ValueError, match="has continuous latents and no codes"):
        ImageCodec(config.replace(levels=())).codes(images)
    with pytest.raises(ValueError, match="levels: 2 for 4 latent channels"):
        config.replace(levels=(3, 3))
