"""Tiny models of the ways to join world and action."""

from __future__ import annotations

from typing import Any

import tiny

from wla.models import AlignedConfig, CascadedLatentsConfig, CascadedPixelsConfig, PlainVLAConfig

CONFIGS = {
    "plain_vla": PlainVLAConfig,
    "aligned": AlignedConfig,
    "cascaded_latents": CascadedLatentsConfig,
    "cascaded_pixels": CascadedPixelsConfig,
}


def config(kind: str, **changes: Any) -> Any:
    """The tiny WLA's parts, as far as the kind has them."""
    made = CONFIGS[kind]
    parts = {name: value for name, value in tiny.model_config() if name in made.model_fields}
    for name in ("kind", "loss_weights"):
        parts.pop(name, None)
    return made(**parts | changes)
