"""Configuration of image augmentation."""

from __future__ import annotations

from pydantic import Field

from wla.config import Config


class ImageAugmentation(Config):
    """Random crop and colours. Each sample has its own; each camera is cropped on its own.

    Whatever two images of a sample have in common, they still have in common: the colours of a pixel depend on that
    pixel alone. Black images, which stand for absent ones, stay black.
    """

    crop: float = Field(default=0.95, gt=0, le=1)
    """Side of the part that is cut out, as a fraction of the image's side, and scaled back to it."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """Colours are multiplied by 1 - brightness .. 1 + brightness."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """Distances from mid-grey are multiplied by 1 - contrast .. 1 + contrast."""
    saturation: float = Field(default=0.4, ge=0, le=1)
    """Distances from the grey of the same luma are multiplied by 1 - saturation .. 1 + saturation."""
    hue: float = Field(default=0.05, ge=0, le=0.5)
    """Hues are turned by up to this fraction of a full turn, either way."""
