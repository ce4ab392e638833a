"""Kinds of models by name, known without importing them."""

from __future__ import annotations

ENTRY_POINTS = "wla.models"
"""Group of the entry points of other packages: name = kind, value = its configuration class."""
BUILT_IN = {
    "wla": "wla.models.configs:WLAConfig",
    "plain_vla": "wla.models.variant_configs:PlainVLAConfig",
    "aligned": "wla.models.variant_configs:AlignedConfig",
    "cascaded_latents": "wla.models.variant_configs:CascadedLatentsConfig",
    "cascaded_pixels": "wla.models.variant_configs:CascadedPixelsConfig",
    "joint": "wla.models.variant_configs:JointConfig",
    "world_vla": "wla.models.world_vla_config:WorldVLAConfig",
}
"""Kind -> its configuration class, imported when the kind is first used."""
