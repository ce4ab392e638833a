"""Sizes of the small model, for one consumer GPU: a published SmolVLM, or 40 M parameters from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.special_tokens import special_tokens
from wla.models import ActionExpertConfig, WLAConfig, WorldExpertConfig
from wla.models.backbones.configs import MetaQueryConfig, NanoBackboneConfig, SmolVLMBackboneConfig, SmolVLMTextConfig
from wla.models.experts.configs import ConnectorConfig
from wla.presets.nano import CODEC, NOISY_ACTIONS
from wla.specs import ImageFit

SmolVLMSize = Literal["256M", "500M"]
SMALL_PROMPT = PromptConfig(queries=16, locations=64)
_TOKENS = special_tokens(SMALL_PROMPT.queries, SMALL_PROMPT.locations)
SMOLVLM_ROWS = 49_280
"""Rows of SmolVLM2's embedding; the prompt's tokens follow them."""
SMOLVLM_TEXTS = {
    "256M": {},
    "500M": {
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
    },
}
"""Sizes of the text layers where they are not those of the 256M model."""
SMOLVLM_SIDE, SCRATCH_SIDE = 512, 128
"""Pixels along each side of the images that each backbone reads."""
TARGET_SIDE = 128
"""Of the image that the World Expert imagines."""


def small_model(
    *,
    cameras: Sequence[str],
    state_dim: int,
    action_dim: int,
    chunk: int,
    vlm: SmolVLMSize | None = None,
    image_fit: ImageFit = "pad",
) -> WLAConfig:
    """Returns the model of small size, for prompts of `SMALL_PROMPT`.

    Args:
        cameras: images that it reads (string forms of `wla.types.ImageKey`: a camera's name), the primary camera's
            first.
        state_dim: dimensions of the robot's state.
        action_dim: dimensions of an action as the model represents it.
        chunk: actions per chunk.
        vlm: size of the SmolVLM2 whose weights the recipe's `FromSmolVLM` names; None for nano's architecture with 40 M
            parameters, from nothing (`FromScratch`).
        image_fit: how images that are not square become so.
    """
    backbone = _scratch_backbone(cameras) if vlm is None else _smolvlm_backbone(cameras, vlm)
    begin = backbone.image_token + 1 + SMALL_PROMPT.locations
    return WLAConfig(
        backbone=backbone,
        queries=MetaQueryConfig(begin=begin, end=begin + 1, first=begin + 2, count=SMALL_PROMPT.queries),
        action_expert=ActionExpertConfig(
            state_dim=state_dim,
            action_dim=action_dim,
            chunk=chunk,
            width=384,
            heads=6,
            layers=8,
            first_cross=1,
            noise_samples_per_chunk=max(2, NOISY_ACTIONS // chunk),
            flow_steps=10,
        ),
        world_expert=WorldExpertConfig(
            latent_channels=CODEC.latent_channels,
            latent_size=TARGET_SIDE // CODEC.downsampling,
            layers=4,
            heads=8,
            head_width=32,
            cross_heads=8,
            connector=ConnectorConfig(mlp=768, head_width=64, out=256, final_norm=True),
            interpolation_scale=1,
            condition_on_current_frame=vlm is None,  # an image of the imagined one's size
            flow_steps=8,
        ),
        codec=CODEC,
        max_world_samples=16,
        image_fit=image_fit,
    )


def _scratch_backbone(cameras: Sequence[str]) -> NanoBackboneConfig:
    return NanoBackboneConfig(
        vocabulary=2048,
        image_token=_TOKENS.index("<|image_pad|>"),
        cameras=dict.fromkeys(cameras, SCRATCH_SIDE),
        width=384,
        layers=8,
        heads=6,
        mlp=1024,
        stem_channels=(48, 96, 192),
    )


def _smolvlm_backbone(cameras: Sequence[str], vlm: SmolVLMSize) -> SmolVLMBackboneConfig:
    """A published tokenizer has the prompt's padding, start and end; the first new token is the image's."""
    new = len(_TOKENS) - _TOKENS.index("<|image_pad|>")
    return SmolVLMBackboneConfig(
        text=SmolVLMTextConfig(vocab_size=SMOLVLM_ROWS + new, **SMOLVLM_TEXTS[vlm]),
        image_token=SMOLVLM_ROWS,
        cameras=dict.fromkeys(cameras, SMOLVLM_SIDE),
        primary=cameras[0],
    )
