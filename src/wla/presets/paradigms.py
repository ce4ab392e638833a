"""Other ways than ours to join world and action, at nano size, to be compared with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.special_tokens import special_tokens
from wla.models.configs import WLAConfig, residual_codec
from wla.models.experts.configs import JointExpertConfig
from wla.models.variant_configs import (
    AlignedConfig,
    CascadedLatentsConfig,
    CascadedPixelsConfig,
    JointConfig,
    PlainVLAConfig,
)
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
ALIGNMENT_WEIGHT = 0.2
"""Weight of the alignment's loss (FLARE's)."""
CASCADE_WORLD_WEIGHT = 1.0
"""Weight of the world's loss in cascades, whose queries learn from nothing else but text."""


def plain_vla(ours: WLAConfig) -> PlainVLAConfig:
    """Returns the model without a world objective that has all other parts of `ours`."""
    return PlainVLAConfig(**_shared(ours, "action_expert"), loss_weights=_weights(ours, "action", "language"))


def aligned(ours: WLAConfig) -> AlignedConfig:
    """Returns the model whose queries learn features of the later frame; it has all other parts of `ours`."""
    weights = _weights(ours, "action", "language") | {"alignment": ALIGNMENT_WEIGHT}
    return AlignedConfig(**_shared(ours, "action_expert"), loss_weights=weights)


def nano_cascaded_latents(ours: WLAConfig) -> CascadedLatentsConfig:
    """Returns the cascade through latents. Its experts are smaller than those of `ours`, of nano size, since both act;
    together they have as many parameters as its Action Expert."""
    return CascadedLatentsConfig(**_cascade(ours))


def nano_cascaded_pixels(ours: WLAConfig) -> CascadedPixelsConfig:
    """Returns the cascade through images, of the sizes of `nano_cascaded_latents`."""
    return CascadedPixelsConfig(**_cascade(ours))


def nano_joint(ours: WLAConfig, *, streams: Literal[1, 2]) -> JointConfig:
    """Returns joint diffusion. Its expert has as many parameters as the Action Expert of `ours`, of nano size, whatever
    the number of streams."""
    expert, world = ours.action_expert, ours.world_expert
    joint = JointExpertConfig(
        state_dim=expert.state_dim,
        action_dim=expert.action_dim,
        chunk=expert.chunk,
        latent_channels=ours.codec.latent_channels,
        latent_size=world.latent_size,
        streams=streams,
        width={1: 120, 2: 88}[streams],
        flow_steps=expert.flow_steps,
        time=expert.time,
    )
    return JointConfig(**_shared(ours, "codec"), joint_expert=joint, loss_weights=dict(ours.loss_weights))


def _shared(ours: WLAConfig, *more: str) -> dict[str, Any]:
    """The parts that all models with a backbone have, and some more."""
    return {name: getattr(ours, name) for name in ("backbone", "queries", "image_fit", *more)}


def _weights(ours: WLAConfig, *terms: str) -> dict[str, float]:
    return {term: getattr(ours.loss_weights, term) for term in terms}


def _cascade(ours: WLAConfig) -> dict[str, Any]:
    world = ours.world_expert
    return {
        **_shared(ours, "codec", "max_world_samples"),
        "action_expert": ours.action_expert.replace(width=64, layers=3, first_cross=0),
        "world_expert": world.replace(
            layers=3, heads=4, head_width=24, connector=world.connector.replace(mlp=128, out=96)
        ),
        "loss_weights": ours.loss_weights.replace(world=CASCADE_WORLD_WEIGHT),
    }


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
