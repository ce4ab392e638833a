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


def random_images(seed: int, count: int = 2) -> torch.Tensor:
    return torch.randint(256, (count, 32, 32, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def everywhere(images: torch.Tensor) -> torch.Tensor:
    return torch.ones(images.shape[:3], dtype=torch.bool)


def test_identical_images_score_perfectly(codec):
    image = random_images(0)
    found = compare_images(image, image, everywhere(image), codec)
    assert found.psnr.tolist() == [60, 60]
    assert found.ssim.tolist() == pytest.approx([1, 1])
    assert found.distance.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_psnr_of_a_constant_offset(codec):
    grey = torch.full((1, 32, 32, 3), 100, dtype=torch.uint8)
    found = compare_images(grey + 16, grey, everywhere(grey), codec)
    assert found.psnr.item() == pytest.approx(20 * math.log10(255 / 16), abs=1e-3)


def test_every_metric_gets_worse_with_more_noise(codec):
    image = random_images(1)
    noisy = (image.int() + torch.randint(-40, 41, image.shape)).clamp(0, 255).to(torch.uint8)
    unrelated = random_images(2)
    near, far = (compare_images(other, image, everywhere(image), codec) for other in (noisy, unrelated))
    assert (near.psnr > far.psnr).all()
    assert (near.ssim > far.ssim).all()
    assert (near.distance < far.distance).all()


def test_only_masked_pixels_count(codec):
    image = random_images(3)
    other = image.clone()
    other[:, :8] = 255 - other[:, :8]
    changed = everywhere(image)
    changed[:, 8:] = False
    unchanged = everywhere(image)
    unchanged[:, :24] = False  # beyond the reach of SSIM's window and of the codec's receptive field
    assert compare_images(other, image, unchanged, codec).psnr.tolist() == [60, 60]
    assert compare_images(other, image, unchanged, codec).ssim.tolist() == pytest.approx([1, 1])
    on_changed, on_all = (compare_images(other, image, mask, codec) for mask in (changed, everywhere(image)))
    assert (on_changed.psnr < on_all.psnr).all()
    assert (on_changed.distance > on_all.distance).all()


def test_an_empty_mask_is_nan(codec):
    image = random_images(4)
    empty = torch.zeros(image.shape[:3], dtype=torch.bool)
    assert all(value.isnan().all() for value in compare_images(image, image, empty, codec))
