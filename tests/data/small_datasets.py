"""Small datasets for tests: coloured blocks that move, two cameras, states that count frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy_robot import robot

from wla.data.lerobot.writer import DatasetWriter
from wla.specs import RobotSpec

SUBTASKS = ("reach", "grasp", "move")


def image(seed: int, frame: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """A floor with two blocks; all frames of a dataset differ."""
    height, width = size
    pixels = np.full((height, width, 3), (150, 120, 90), np.uint8)
    x, y = (4 + 2 * frame) % (width - 8), (6 * seed) % (height - 8)
    pixels[y : y + 8, x : x + 8] = (200, 40, 40)
    pixels[20:28, 30:38] = (40, 60 + 10 * seed % 150, 200)
    return pixels


def episode_arrays(seed: int, length: int, spec: RobotSpec) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(length, spec.observation.state_dim)).astype(np.float32)
    return state, rng.uniform(-1, 1, (length, spec.action.dim)).astype(np.float32)


def add_frames(writer: DatasetWriter, seed: int, length: int) -> None:
    """All frames of an episode, without ending it."""
    size = writer.robot_spec.observation.cameras["front"]
    state, actions = episode_arrays(seed, length, writer.robot_spec)
    for i in range(length):
        images = {"front": image(seed, i, size), "wrist": image(seed + 1, i, size)}
        action = actions[i] if writer.with_actions else None
        writer.add_frame(images, state[i], action, SUBTASKS[3 * i // length])


def add_episode(writer: DatasetWriter, seed: int, length: int = 10, *, keep: bool = True) -> None:
    add_frames(writer, seed, length)
    writer.end_episode(f"do task {seed % 2}", keep=keep, seed=seed)


def write_dataset(
    root: Path, seeds: tuple[int, ...] = (0, 1, 2), *, with_actions: bool = True, shard_frames: int = 20
) -> Path:
    """Episodes of ten frames; two make a shard."""
    with DatasetWriter(root, robot(), with_actions=with_actions, shard_frames=shard_frames) as writer:
        for seed in seeds:
            add_episode(writer, seed)
    return root


def psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((ours.astype(float) - theirs) ** 2)))
