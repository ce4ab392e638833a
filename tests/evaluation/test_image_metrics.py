from __future__ import annotations

import math

import pytest
import tiny
import torch

from wla.evaluation.image_metrics import compare_images
from wla.models.image_codec import ImageCodec


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return ImageCodec(tiny.model_config().codec)


def picture(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randint(256, (count, 32, 32, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def everywhere(images: torch.Tensor) -> torch.Tensor:
    return torch.ones(images.shape[:3], dtype=torch.bool)


def test_the_same_image_is_perfect(codec):
    image = picture(0)
    found = compare_images(image, image, everywhere(image), codec)
    assert found.psnr.tolist() == [60, 60]
    assert found.ssim.tolist() == pytest.approx([1, 1])
    assert found.distance.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_psnr_is_that_of_the_levels(codec):
    grey = torch.full((1, 32, 32, 3), 100, dtype=torch.uint8)
    found = compare_images(grey + 16, grey, everywhere(grey), codec)
    assert found.psnr.item() == pytest.approx(20 * math.log10(255 / 16), abs=1e-3)


def test_every_measure_says_that_more_noise_is_worse(codec):
    image = picture(1)
    rough = (image.int() + torch.randint(-40, 41, image.shape)).clamp(0, 255).to(torch.uint8)
    rougher = picture(2)
    near, far = (compare_images(other, image, everywhere(image), codec) for other in (rough, rougher))
    assert (near.psnr > far.psnr).all()
    assert (near.ssim > far.ssim).all()
    assert (near.distance < far.distance).all()


def test_only_what_the_mask_shows_counts(codec):
    image = picture(3)
    other = image.clone()
    other[:, :8] = 255 - other[:, :8]
    there = everywhere(image)
    there[:, 8:] = False
    elsewhere = everywhere(image)
    elsewhere[:, :24] = False  # as far as neither the window of SSIM nor the codec's features reach
    assert compare_images(other, image, elsewhere, codec).psnr.tolist() == [60, 60]
    assert compare_images(other, image, elsewhere, codec).ssim.tolist() == pytest.approx([1, 1])
    inside, whole = (compare_images(other, image, where, codec) for where in (there, everywhere(image)))
    assert (inside.psnr < whole.psnr).all()
    assert (inside.distance > whole.distance).all()


def test_an_empty_mask_is_no_number(codec):
    image = picture(4)
    nothing = torch.zeros(image.shape[:3], dtype=torch.bool)
    assert all(value.isnan().all() for value in compare_images(image, image, nothing, codec))
