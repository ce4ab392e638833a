"""Features of images: those of reading every image anew, without doing it."""

from __future__ import annotations

import torch
from torch import Tensor

from wla.models.inference.image_features import KEPT, ImageFeatures


class CountedReads:
    """Stands for a compiled function. rows: images of each call."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, images: Tensor) -> list[Tensor]:
        self.rows.append(len(images))
        return [images.flatten(2).float().mean(-1, keepdim=True)]


def images(*shades: int) -> Tensor:
    return torch.stack([torch.full((2, 2, 3), shade, dtype=torch.uint8) for shade in shades])


def test_only_new_images_are_read_and_rows_keep_their_order():
    reads = CountedReads()
    features = ImageFeatures(reads)
    for shades in ((1, 2), (2, 1), (3, 1, 3), (1, 2, 4)):
        assert features(images(*shades))[:, 0, 0].tolist() == list(shades)
    assert reads.rows == [2, 1, 1]


def test_the_images_of_long_ago_are_read_again():
    reads = CountedReads()
    features = ImageFeatures(reads)
    for shade in range(KEPT + 1):
        features(images(shade, 200))  # the second stays known: it is shown at every call
    reads.rows.clear()
    features(images(200))
    features(images(0))
    assert reads.rows == [1]


def test_more_images_than_are_kept_at_once():
    shades = list(range(KEPT + 5))
    features = ImageFeatures(CountedReads())
    for order in (shades, shades[::-1], [*shades, 0]):
        assert features(images(*order))[:, 0, 0].tolist() == order


def test_what_is_forgotten_while_an_image_is_read_is_still_given():
    def read(batch: Tensor) -> list[Tensor]:
        if len(batch) == 1:  # another thread reads many images meanwhile
            features(images(*range(2, KEPT + 5)))
        return CountedReads()(batch)

    features = ImageFeatures(read)
    features(images(0, 1))
    assert features(images(0, 200, 1))[:, 0, 0].tolist() == [0, 200, 1]
