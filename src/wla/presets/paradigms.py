"""Other ways than ours to join world and action, at nano size, to be compared with it."""

from __future__ import annotations

from collections.abc import Mapping

from wla.data.prompts.special_tokens import special_tokens
from wla.models.configs import residual_codec
from wla.models.world_vla_config import WorldVLAConfig
from wla.presets.nano import CAMERAS, PROMPT

VQ_CODEC = residual_codec(
    latent_channels=4, channels=(16, 16, 32, 64, 128), layers=(0, 1, 2, 2, 2), levels=(8, 8, 8, 8)
)
"""16 x 16 px -> one of 4096 codes."""


def nano_world_vla(
    *, state_dim: int, action_dim: int, chunk: int, cameras: Mapping[str, int] = CAMERAS
) -> WorldVLAConfig:
    """Returns WorldVLA with a decoder of the nano backbone's sizes. Arguments: see `nano_model`."""
    image = special_tokens(PROMPT.queries, PROMPT.locations).index("<|image_pad|>")
    return WorldVLAConfig(
        images=dict(cameras),
        vocabulary=768,
        image_token=image,
        state_dim=state_dim,
        action_dim=action_dim,
        chunk=chunk,
        codec=VQ_CODEC,
        layers=5,
        max_world_samples=16,
    )
