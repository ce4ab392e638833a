"""Sizes of the published WLA-0. It differs from the nano model by configuration only."""

from __future__ import annotations

from typing import NamedTuple

from wla.data.prompts.configs import ChatPromptConfig
from wla.models.backbones.configs import MetaQueryConfig, QwenBackboneConfig, QwenTextConfig
from wla.models.configs import ImageCodecConfig, WLAConfig
from wla.models.experts.configs import ActionExpertConfig, ConnectorConfig, WorldExpertConfig
from wla.robots import aloha, libero
from wla.specs import RobotSpec
from wla.types import ImageKey

VLM = "Alibaba-DAMO-Academy/RynnBrain-2B"
SANA = "SJTU-DENG-Lab/Sana_600M_512px_diffusers_64channels"
QUERIES = 64
QWEN_ROWS = 151_936
"""Rows of Qwen3-VL's embedding; begin marker, end marker and queries follow them."""
SIDE = 256
"""Of every image that the backbone reads."""
TARGET_SIDE = 512
"""Of the image that the World Expert imagines."""
CODEC = ImageCodecConfig(
    encoder_block_types=("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
    decoder_block_types=("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
    downsample_block_type="Conv",
    upsample_block_type="interpolate",
    scaling_factor=0.41407,
)
"""dc-ae-f32c32, as SANA comes with it: 512 px -> 32 x 16 x 16."""


def wla0_model(robot: RobotSpec, *, chunk: int, first_frame: bool = False) -> WLAConfig:
    """The published model for a robot: its cameras now, and its primary camera in the past (and at the beginning)."""
    primary, *others = robot.observation.cameras
    beginning = (str(ImageKey(primary, "first")),) if first_frame else ()
    current = [str(ImageKey(camera)) for camera in (primary, *others)]
    images = (*beginning, str(ImageKey(primary, "history")), *current)
    return WLAConfig(
        backbone=QwenBackboneConfig(
            text=QwenTextConfig(vocab_size=QWEN_ROWS + 2 + QUERIES),
            image_token=151_655,
            vision_start=151_652,
            vision_end=151_653,
            cameras=dict.fromkeys(images, SIDE),
            primary=current[0],
        ),
        queries=MetaQueryConfig(begin=QWEN_ROWS, end=QWEN_ROWS + 1, first=QWEN_ROWS + 2, count=QUERIES),
        action_expert=ActionExpertConfig(
            state_dim=robot.observation.state_dim,
            action_dim=robot.action.dim,
            chunk=chunk,
            width=1024,
            heads=32,
            layers=28,
            max_chunk=1024,
        ),
        world_expert=WorldExpertConfig(
            latent_channels=2 * CODEC.latent_channels,
            latent_size=TARGET_SIDE // CODEC.downsampling,
            layers=28,
            heads=36,
            head_width=32,
            cross_heads=16,
            connector=ConnectorConfig(mlp=8192, head_width=64, out=2304),
            sampling_shift=3.0,
            guidance=3.0,
        ),
        codec=CODEC,
    )


def plain_prompt() -> ChatPromptConfig:
    """LIBERO and RoboTwin: no text before the queries."""
    return ChatPromptConfig(queries=QUERIES, history=8)


def language_prompt() -> ChatPromptConfig:
    """RMBench: predicts subtasks; the prompt contains the previous ones."""
    return ChatPromptConfig(queries=QUERIES, history=32, language=True)


class Preset(NamedTuple):
    """A published model: what it acts on, how it is asked, and its sizes."""

    robot: RobotSpec
    prompt: ChatPromptConfig
    model: WLAConfig


def presets() -> dict[str, Preset]:
    """Every published model by the name of its recipe; the four RMBench tasks share one."""
    arm, poses, joints = (
        libero.libero_robot(),
        aloha.aloha_robot(end_effector=True),
        aloha.aloha_robot(end_effector=False),
    )
    return {
        "wla0_libero": Preset(arm, plain_prompt(), wla0_model(arm, chunk=8)),
        "wla0_robotwin": Preset(poses, plain_prompt(), wla0_model(poses, chunk=32)),
        "wla0_robotwin_videos": Preset(joints, plain_prompt(), wla0_model(joints, chunk=32)),
        "wla0_rmbench": Preset(joints, language_prompt(), wla0_model(joints, chunk=32, first_frame=True)),
    }
