"""Appearance of a scene: colours, light and camera, nothing that changes its physics."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field, replace

import numpy as np

Rgb = tuple[float, float, float]

BLOCKS: dict[str, Rgb] = {
    "red": (0.85, 0.08, 0.08),
    "green": (0.08, 0.62, 0.14),
    "blue": (0.08, 0.22, 0.90),
    "yellow": (0.95, 0.85, 0.08),
}


def rgba(colour: Rgb, shade: float = 1.0) -> str:
    """Returns `colour` as an MJCF rgba attribute, multiplied by `shade`."""
    return " ".join(f"{channel * shade:.4f}" for channel in colour) + " 1"


@dataclass(frozen=True)
class Appearance:
    """Appearance of one scene.

    Attributes:
        table: RGB in 0 .. 1.
        light: diffuse RGB in 0 .. 1.
        light_direction: world frame.
        camera_shift: offset of the front camera, metres, world frame.
        blocks: name of the colour -> RGB in 0 .. 1.
    """

    table: Rgb = (0.50, 0.47, 0.43)
    light: Rgb = (0.55, 0.55, 0.55)
    light_direction: tuple[float, float, float] = (0.2, 0.3, -1.0)
    camera_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    blocks: dict[str, Rgb] = field(default_factory=lambda: dict(BLOCKS))

    def randomized(self, rng: np.random.Generator) -> Appearance:
        """Samples another table and light, slightly different hues, and a front camera moved by up to 15 mm."""
        return replace(
            self,
            table=colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.0, 0.35), rng.uniform(0.3, 0.65)),
            light=_triple(rng.uniform(0.4, 0.7) * rng.uniform(0.9, 1.1, 3)),
            light_direction=(rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5), -1.0),
            camera_shift=_triple(rng.uniform(-0.015, 0.015, 3)),
            blocks={name: _jittered(colour, rng) for name, colour in self.blocks.items()},
        )


def _jittered(colour: Rgb, rng: np.random.Generator) -> Rgb:
    """Samples a similar colour that still has the same name."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    return colorsys.hsv_to_rgb((hue + rng.uniform(-0.025, 0.025)) % 1.0, saturation, value * rng.uniform(0.85, 1.05))


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
