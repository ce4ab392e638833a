"""A model small enough for tests, with everything that a checkpoint holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from toy_robot import robot

from wla.data import RobotTransform
from wla.data.lerobot.writer import DatasetWriter
from wla.data.normalize import Statistics, VectorStatistics
from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.nano import Prompter
from wla.data.prompts.special_tokens import special_tokens
from wla.data.prompts.tokenizer import train_tokenizer
from wla.models.backbones.configs import MetaQueryConfig, NanoBackboneConfig
from wla.models.configs import WLAConfig, residual_codec
from wla.models.experts.configs import ActionExpertConfig, ChunkConditionConfig, ConnectorConfig, WorldExpertConfig
from wla.models.wla import WLA
from wla.policy.checkpoint import Checkpoint, CheckpointConfig
from wla.policy.robots import PolicyRobot
from wla.specs import RobotSpec
from wla.types import Observation

PROMPT = PromptConfig(queries=3, locations=8)
CAMERAS = {"front": 32, "wrist": 16}
CHUNK, STATE, ACTION = 4, 3, 2
WIDTH = 32
SUBTASKS = ("reach the red block", "grasp the red block")
INSTRUCTIONS = ("put the red block in the bowl", "press the button")
SPECIAL_TOKENS = special_tokens(PROMPT.queries, PROMPT.locations)


def model_config() -> WLAConfig:
    begin = SPECIAL_TOKENS.index("<|begin_of_img|>")
    codec = residual_codec(latent_channels=4, channels=(8, 8, 8), layers=(0, 1, 1))
    return WLAConfig(
        backbone=NanoBackboneConfig(
            vocabulary=400,
            image_token=SPECIAL_TOKENS.index("<|image_pad|>"),
            cameras=CAMERAS,
            width=WIDTH,
            layers=2,
            heads=2,
            mlp=48,
            stem_channels=(4, 8, 8),
        ),
        queries=MetaQueryConfig(begin=begin, end=begin + 1, first=begin + 2, count=PROMPT.queries),
        action_expert=ActionExpertConfig(
            state_dim=STATE,
            action_dim=ACTION,
            chunk=CHUNK,
            width=16,
            heads=2,
            layers=2,
            noise_samples_per_chunk=2,
            flow_steps=3,
        ),
        world_expert=WorldExpertConfig(
            latent_channels=4,
            latent_size=8,
            layers=2,
            heads=2,
            head_width=8,
            cross_heads=2,
            connector=ConnectorConfig(mlp=32, head_width=16, out=24),
            flow_steps=2,
        ),
        codec=codec,
    )


def action_conditioned_config(condition_dropout: float = 0.5) -> WLAConfig:
    """A model that imagines what given actions lead to."""
    config = model_config()
    actions = ChunkConditionConfig(action_dim=ACTION, state_dim=STATE, chunk=CHUNK, condition_dropout=condition_dropout)
    return config.replace(world_expert=config.world_expert.replace(actions=actions))


def queries(batch: int, layers: int = 2) -> list[torch.Tensor]:
    """Random states (batch, Q, WIDTH) of the meta-queries, one for each layer of the backbone."""
    return [
        torch.randn(batch, PROMPT.queries, WIDTH, generator=torch.Generator().manual_seed(i)) for i in range(layers)
    ]


def tokenizer():
    return train_tokenizer([*INSTRUCTIONS, *SUBTASKS], queries=PROMPT.queries, locations=PROMPT.locations, size=400)


def prompter(model: WLA) -> Prompter:
    return Prompter(PROMPT, tokenizer(), model.backbone.image_tokens)


def robot_spec() -> RobotSpec:
    return robot(limits=(-0.1, 0.1), size=(32, 32))


def statistics() -> Statistics:
    def of(low: float, high: float, dim: int) -> VectorStatistics:
        return VectorStatistics(min=(low,) * dim, max=(high,) * dim, mean=(0.0,) * dim, std=(1.0,) * dim, count=10)

    return Statistics(state=of(-1.0, 1.0, STATE), action=of(-0.1, 0.1, ACTION))


def checkpoint(seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    config = CheckpointConfig(model=model_config(), prompt=PROMPT)
    return Checkpoint(config, WLA(config.model).eval(), policy_robots(robot_spec()), tokenizer())


def policy_robots(spec: RobotSpec) -> tuple[PolicyRobot, ...]:
    """The robot of a checkpoint, with the usual statistics."""
    return (PolicyRobot(spec=spec, statistics=statistics()),)


def transform() -> RobotTransform:
    """Between its robot and its model."""
    made = checkpoint()
    return made.transform(made.robot)


def observation(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for name in CAMERAS}
    return Observation(images=images, state=rng.uniform(-1, 1, STATE).astype(np.float32))


def write_dataset(
    root: Path, *, episodes: int = 2, length: int = 10, with_actions: bool = True, subtasks: bool = True
) -> Path:
    """Episodes of random pictures; the first half of each is the first subtask. Every other one fails."""
    rng = np.random.default_rng(0)
    with DatasetWriter(root, robot_spec(), with_actions=with_actions) as writer:
        for episode in range(episodes):
            for step in range(length):
                seen = observation(100 * episode + step)
                action = rng.uniform(-0.1, 0.1, ACTION).astype(np.float32) if with_actions else None
                writer.add_frame(seen.images, seen.state, action, SUBTASKS[2 * step // length] if subtasks else "")
            writer.end_episode(INSTRUCTIONS[episode % 2], keep=True, seed=episode, success=episode % 2 == 0)
    return root
