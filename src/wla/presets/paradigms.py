"""Other ways than ours to join world and action, at nano size, to be compared with it."""

from __future__ import annotations

from collections.abc import Mapping

from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.special_tokens import special_tokens
from wla.models.configs import residual_codec
from wla.models.world_vla_config import TokenRows, WorldVLAConfig
from wla.presets.nano import CAMERAS, PROMPT

CHAMELEON_VOCABULARY = 65_536
"""Tokens of the published Chameleon: text, image codes, and reserved ones."""
CHAMELEON_CODEC = residual_codec(
    latent_channels=4, channels=(128, 128, 256, 256, 512), layers=(0, 2, 2, 2, 2), levels=(8, 8, 8, 16)
)
"""16 x 16 px -> one of 8192 codes."""
VQ_CODEC = residual_codec(
    latent_channels=4, channels=(16, 16, 32, 64, 128), layers=(0, 1, 2, 2, 2), levels=(8, 8, 8, 8)
)
"""16 x 16 px -> one of 4096 codes."""


def nano_world_vla(
    *, state_dim: int, action_dim: int, chunk: int, cameras: Mapping[str, int] = CAMERAS, history: int = 1
) -> WorldVLAConfig:
    """Returns WorldVLA with a decoder of the nano backbone's sizes.

    Arguments: see `nano_model`. history: frames of the primary camera, 1 to 4, as far apart as `PromptConfig.history`.
    """
    primary, *others = cameras.items()
    past = [(f"{time} {primary[0]}", primary[1]) for time in ("history", "history2", "history3")[: history - 1]]
    image = special_tokens(PROMPT.queries, PROMPT.locations).index("<|image_pad|>")
    return WorldVLAConfig(
        images=dict([primary, *past, *others]),
        vocabulary=768,
        image_token=image,
        state_dim=state_dim,
        action_dim=action_dim,
        chunk=chunk,
        codec=VQ_CODEC,
        layers=5,
        max_world_samples=16,
    )


def chameleon_world_vla(
    *, state_dim: int, action_dim: int, chunk: int, cameras: Mapping[str, int], prompt: PromptConfig = PROMPT
) -> WorldVLAConfig:
    """Returns WorldVLA as published: Chameleon-7B's layout, 8192 codes of 16 x 16 pixels, 256 bins of an action.

    Codes and actions have the rows that they have in the published model; the special tokens of the prompts are behind
    its vocabulary. The image codec is one of this package. Arguments: see `nano_model`; cameras of 256 pixels as
    published.
    """
    special = special_tokens(prompt.queries, prompt.locations)
    return WorldVLAConfig(
        images=dict(cameras),
        vocabulary=CHAMELEON_VOCABULARY + len(special),
        image_token=CHAMELEON_VOCABULARY + special.index("<|image_pad|>"),
        token_rows=TokenRows(codes=4, actions=10_006, markers=15_004),
        layout="chameleon",
        state_dim=state_dim,
        action_dim=action_dim,
        chunk=chunk,
        codec=CHAMELEON_CODEC,
        width=4096,
        layers=32,
        heads=32,
        mlp=11_008,
    )
