"""Sizes of the nano model, about 5 M parameters. Full size differs from it by configuration only."""

from __future__ import annotations

from collections.abc import Mapping

from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.special_tokens import special_tokens
from wla.models.backbones.configs import MetaQueryConfig, NanoBackboneConfig
from wla.models.configs import WLAConfig, residual_codec
from wla.models.experts.configs import ActionExpertConfig, ConnectorConfig, WorldExpertConfig
from wla.specs import ImageFit

CAMERAS = {"front": 96, "wrist": 48}
PROMPT = PromptConfig(queries=8, locations=64)
NANO_MATRICES = (r"text\.layers\.",)
NANO_WORLD_MATRICES = (r"world_expert\.connector\.", r"world_expert\.sana\.transformer_blocks\..*\.attn")
NANO_POLICY_MATRICES = (*NANO_MATRICES, r"action_expert\.blocks\.")
"""What Muon trains (see `OptimConfig.muon`)."""
NOISY_ACTIONS = 64
"""Actions with noise that the Action Expert is trained on per sample: 8 chunks of 8, fewer of longer ones."""
CODEC = residual_codec(latent_channels=16, channels=(16, 16, 32, 64), layers=(0, 1, 2, 3))
"""96 px -> 16 x 12 x 12."""


def nano_backbone(cameras: Mapping[str, int] = CAMERAS) -> NanoBackboneConfig:
    """Returns the backbone of nano size, for the tokens of `PROMPT`. cameras: see `nano_model`."""
    image = special_tokens(PROMPT.queries, PROMPT.locations).index("<|image_pad|>")
    return NanoBackboneConfig(vocabulary=768, image_token=image, cameras=dict(cameras))


def nano_model(
    *,
    state_dim: int,
    action_dim: int,
    chunk: int,
    cameras: Mapping[str, int] = CAMERAS,
    image_fit: ImageFit = "pad",
) -> WLAConfig:
    """Returns the model of nano size: `nano_backbone`, an Action Expert and a World Expert.

    Args:
        state_dim: dimensions of the robot's state.
        action_dim: dimensions of an action.
        chunk: actions per chunk.
        cameras: images that it reads (string forms of `wla.types.ImageKey`: a camera's name), the primary camera's
            first, and the pixels along each side at which it reads them, a multiple of 16.
        image_fit: how images that are not square become so.
    """
    words = special_tokens(PROMPT.queries, PROMPT.locations)
    begin = words.index("<|begin_of_img|>")
    return WLAConfig(
        backbone=nano_backbone(cameras),
        queries=MetaQueryConfig(begin=begin, end=begin + 1, first=begin + 2, count=PROMPT.queries),
        action_expert=ActionExpertConfig(
            state_dim=state_dim,
            action_dim=action_dim,
            chunk=chunk,
            first_cross=1,
            noise_samples_per_chunk=max(2, NOISY_ACTIONS // chunk),
            flow_steps=10,
        ),
        world_expert=WorldExpertConfig(
            latent_channels=CODEC.latent_channels,
            latent_size=next(iter(cameras.values())) // CODEC.downsampling,
            layers=4,
            heads=4,
            head_width=32,
            cross_heads=4,
            connector=ConnectorConfig(mlp=384, head_width=32, out=128, final_norm=True),
            interpolation_scale=1,
            condition_on_current_frame=True,
            flow_steps=8,
        ),
        codec=CODEC,
        max_world_samples=8,
        image_fit=image_fit,
    )


def nano_tabletop_finetune() -> WLAConfig:
    """`nano-tabletop`'s model for more training of the policy; its imagination is as the recipe nano_world left it."""
    model = nano_model(state_dim=5, action_dim=5, chunk=8)
    world = model.world_expert.replace(timestep_shift=10.0, flow_steps=1)
    # Half of the noises and imagined samples: they take a fifth of a step's time.
    expert = model.action_expert.replace(noise_samples_per_chunk=4)
    return model.replace(world_expert=world, action_expert=expert, max_world_samples=4)
