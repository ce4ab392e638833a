"""Resizing and augmentation of images."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from wla.data.transforms import jitter, paste_distractors, resize, resize_with_pad


def white(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.full((count, height, width, 3), 255, np.uint8)


def box(images: torch.Tensor) -> tuple[int, int, int, int]:
    """Rows and columns (first, after the last) that are not black; all inside must be white."""
    rows = torch.nonzero(images[0, :, :, 0].any(1)).flatten().tolist()
    columns = torch.nonzero(images[0, :, :, 0].any(0)).flatten().tolist()
    inside = images[0, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (inside == 255).all()
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@pytest.mark.parametrize(
    ("size", "target", "inside"),
    [
        ((240, 320), (256, 256), (32, 224, 0, 256)),  # wide, enlarged
        ((320, 240), (256, 256), (0, 256, 32, 224)),  # tall
        ((480, 640), (64, 64), (8, 56, 0, 64)),  # reduced
        ((40, 40), (20, 60), (0, 20, 20, 40)),
        ((30, 40), (32, 41), (0, 31, 0, 41)),  # odd margins: the lower one is larger
        ((1, 500), (16, 16), (7, 8, 0, 16)),  # a side that would round to 0
        ((500, 1), (16, 16), (0, 16, 7, 8)),
        ((1, 1), (5, 9), (0, 5, 2, 7)),
        ((7, 9), (1, 1), (0, 1, 0, 1)),
    ],
)
def test_the_image_is_centred_and_complete_on_black(size, target, inside):
    fitted = resize_with_pad(white(*size, count=2), *target)
    assert fitted.shape == (2, *target, 3)
    assert fitted.dtype == torch.uint8
    assert torch.equal(fitted[0], fitted[1])
    assert box(fitted) == inside


def test_images_of_the_target_size_are_unchanged():
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_with_pad(images, 24, 32).numpy(), images)
    np.testing.assert_array_equal(resize_with_pad(images[:, ::-1], 24, 32).numpy(), images[:, ::-1])  # a view


def test_content_keeps_its_position_and_colour():
    images = np.zeros((1, 20, 40, 3), np.uint8)
    images[:, :, 20:] = (10, 200, 90)
    fitted = resize_with_pad(images, 20, 20).numpy()[0]
    assert fitted[10, 5].tolist() == [0, 0, 0]
    assert fitted[10, 15].tolist() == [10, 200, 90]
    assert not fitted[:5].any()
    assert not fitted[15:].any()


def test_downscaling_averages_instead_of_skipping():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    middle = resize_with_pad(stripes, 8, 8)[0, 2:6, 2:6].float()
    assert (middle - 127.5).abs().max() < 4


def test_an_empty_target_is_refused():
    with pytest.raises(ValueError, match="0 x 4 pixels; both sides must be at least 1"):
        resize_with_pad(white(2, 2), 0, 4)


def test_jitter_shifts_each_image_and_scales_its_brightness_within_bounds():
    images = torch.full((400, 12, 12, 3), 100, dtype=torch.uint8)
    images[:, 6, 6] = 200
    jittered = jitter(images, np.random.default_rng(0), max_shift=2, brightness=0.2)
    assert jittered.shape == images.shape
    positions = {divmod(int(image[..., 0].argmax()), 12) for image in jittered}
    assert positions == {(y, x) for y in range(4, 9) for x in range(4, 9)}
    background = jittered[:, 0, 0, 0].float()
    assert 80 <= background.min() < 83
    assert 117 < background.max() <= 120
    torch.testing.assert_close(jitter(images, np.random.default_rng(0), max_shift=0, brightness=0.0), images)


def test_distractors_are_static_over_the_frames_of_a_sample():
    images = torch.zeros(40, 3, 16, 16, 3, dtype=torch.uint8)
    images[:, :, 0] = torch.arange(3, dtype=torch.uint8)[:, None, None]  # the frames differ
    pasted = paste_distractors(images, np.random.default_rng(0), patches=3, max_size=0.5)
    assert not images[:, :, 1:].any()  # the input is not changed
    changed = (pasted != images).any(-1)
    assert torch.equal(changed[:, 1, 1:], changed[:, 2, 1:])
    sizes = changed[:, 0].flatten(1).sum(1)
    assert sizes.min() == 0
    assert 16 < sizes.max() <= 3 * 64


@pytest.mark.parametrize("size", [(24, 48), (48, 24), (60, 36)])
def test_an_image_becomes_square_by_padding_cropping_or_stretching(size):
    image = np.full((1, *size, 3), 255, np.uint8)
    short, long = (0, 1) if size[0] < size[1] else (1, 0)
    ends = [slice(None), slice(None)]
    for end in (slice(0, 2), slice(size[long] - 2, None)):
        ends[long] = end
        image[0, ends[0], ends[1]] = (255, 0, 0)
    padded, cropped, stretched = (resize(image, 12, fit)[0].numpy() for fit in ("pad", "crop", "stretch"))
    assert {each.shape for each in (padded, cropped, stretched)} == {(12, 12, 3)}
    assert not padded.take(0, axis=short).any()  # a black margin
    assert (cropped == 255).all()  # the ends are cut off
    assert stretched.all(axis=(0, 1))[0]  # red is everywhere: no margin
    assert not (stretched == 255).all()


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_square_images_are_the_same_for_every_fit(fit):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    torch.testing.assert_close(resize(images, 16, fit), resize(images, 16))


@pytest.mark.parametrize(("fit", "side"), [("pad", 24), ("pad", 8), ("pad", 9), ("crop", 8), ("stretch", 9)])
def test_pixels_that_may_not_be_written_stay_as_they_are_without_a_warning(fit, side):
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    expected = resize(images, side, fit).numpy()
    locked = images.copy()
    locked.flags.writeable = False  # as of a memory map, or an image that PIL opened
    torch.set_warn_always(True)  # torch warns of the first such array only
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = resize(locked, side, fit)
    finally:
        torch.set_warn_always(False)
    np.testing.assert_array_equal(found.numpy(), expected)
    found.zero_()
    np.testing.assert_array_equal(locked, images)


def test_pixels_of_the_right_size_are_not_copied():
    images = white(8, 8)
    assert np.shares_memory(resize(images, 8).numpy(), images)
