"""Tiny models of the ways to join world and action."""

from __future__ import annotations

from typing import Any

import tiny

from wla.models import (
    AlignedConfig,
    CascadedLatentsConfig,
    CascadedPixelsConfig,
    JointConfig,
    JointExpertConfig,
    PlainVLAConfig,
)

CONFIGS = {
    "plain_vla": PlainVLAConfig,
    "aligned": AlignedConfig,
    "cascaded_latents": CascadedLatentsConfig,
    "cascaded_pixels": CascadedPixelsConfig,
    "joint": JointConfig,
    "joint, two streams": JointConfig,
}


def config(kind: str, **changes: Any) -> Any:
    """The tiny WLA's parts, as far as the kind has them."""
    made = CONFIGS[kind]
    parts = {name: value for name, value in tiny.model_config() if name in made.model_fields}
    for name in ("kind", "loss_weights"):
        parts.pop(name, None)
    if made is JointConfig:
        parts["joint_expert"] = joint_expert(streams=2 if kind == "joint, two streams" else 1)
    return made(**parts | changes)


def joint_expert(**changes: Any) -> JointExpertConfig:
    ours = tiny.model_config()
    sizes = {name: getattr(ours.action_expert, name) for name in ("state_dim", "action_dim", "chunk", "flow_steps")}
    latent = {name: getattr(ours.world_expert, name) for name in ("latent_channels", "latent_size")}
    return JointExpertConfig(**sizes | latent | {"width": 16, "heads": 2, "layers": 2} | changes)
