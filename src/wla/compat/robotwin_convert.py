"""Raw RoboTwin 2.0 and RMBench episodes -> LeRobot v3.0.

The state of frame t is the measurement at t, its action the measurement at t + 1, because the arms reach their targets
within one step. The action of the last frame is its own measurement.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from wla.compat.lerobot_writing import new_dataset, write_metadata
from wla.compat.robotwin import ActionSpace, RawDataset, RawEpisode
from wla.data.lerobot.format import (
    ACTION,
    IMAGE_PREFIX,
    INDEX_COLUMNS,
    STATE,
    SUBTASK,
    DatasetInfo,
    Feature,
    frame_rate,
    rate_to_number,
    video_feature,
)
from wla.data.lerobot.staging import EpisodeData, Progress, write_shard
from wla.data.lerobot.stats import FeatureStats, image_stats
from wla.data.paraphrases import INSTRUCTIONS
from wla.data.video import codec
from wla.progress import progress_bar

SHARD_FRAMES = 5000


def convert_robotwin(source: Path, out: Path, *, space: ActionSpace, fps: float) -> int:
    """Converts raw episodes. RoboTwin's "seen" phrasings are written to OUT/instructions.json.

    Args:
        source: folder that contains `data`.
        out: folder of the new dataset.
        space: of states and actions.
        fps: frames per second.

    Returns:
        Number of episodes.

    Raises:
        ValueError: an episode is incomplete, damaged or of another robot, or `out` exists or cannot be written.
    """
    raw = RawDataset(source, space)
    rate = frame_rate(fps)
    state = Progress()
    features: dict[str, Feature] = {}
    phrasings: dict[str, dict[str, None]] = {}
    pending: list[EpisodeData] = []
    with (
        new_dataset(out) as root,
        progress_bar() as progress,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        task = progress.add_task("converting", total=len(raw.numbers))
        for number in raw.numbers:
            episode = raw.read(number)
            data, sizes = _encode(episode, rate, pool)
            episode_features = _features(raw.names(episode.vectors.shape[1]), sizes, rate)
            if episode_features != (features := features or episode_features):
                raise ValueError(
                    f"{episode.path}: has other dimensions, cameras or image sizes than the first episode; "
                    "convert each robot into a dataset of its own"
                )
            phrasings.setdefault(data.instruction, {}).update(dict.fromkeys(episode.instructions))
            pending.append(data)
            if sum(len(part.state) for part in pending) >= SHARD_FRAMES:
                write_shard(root, pending, state, rate)
                pending = []
            progress.advance(task)
        if pending:
            write_shard(root, pending, state, rate)
        write_metadata(root, _info(features, state, rate), state.tasks, state.stats)
        texts = {instruction: list(paraphrases) for instruction, paraphrases in phrasings.items()}
        (root / INSTRUCTIONS).write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return state.episodes


def _encode(
    episode: RawEpisode, rate: Fraction, pool: ThreadPoolExecutor
) -> tuple[EpisodeData, dict[str, tuple[int, int]]]:
    """Encodes the cameras of an episode as videos, in parallel threads, and returns their (height, width) too."""

    def encode_camera(name: str) -> tuple[bytes, FeatureStats, tuple[int, int]]:
        frames = list(episode.images(name))
        sizes = {frame.shape[:2] for frame in frames}
        height, width = frames[0].shape[:2]
        if len(sizes) != 1 or height % 2 or width % 2:
            raise ValueError(
                f"{episode.path}: camera {name!r} has images of {sorted(sizes)} pixels; H.264 requires one even size"
            )
        return codec.encode(frames, rate), image_stats(frames), (height, width)

    encoded = dict(zip(episode.cameras, pool.map(encode_camera, episode.cameras), strict=True))
    next_frames = np.minimum(np.arange(len(episode.vectors)) + 1, len(episode.vectors) - 1)
    data = EpisodeData(
        instruction=episode.instructions[0],
        state=episode.vectors,
        actions=episode.vectors[next_frames],
        subtasks=episode.subtasks,
        videos={IMAGE_PREFIX + name: clip for name, (clip, _, _) in encoded.items()},
        image_stats={IMAGE_PREFIX + name: stats for name, (_, stats, _) in encoded.items()},
        seed=None,
        success=None,
        action_executed=None,
    )
    return data, {name: size for name, (_, _, size) in encoded.items()}


def _features(names: list[str], sizes: dict[str, tuple[int, int]], rate: Fraction) -> dict[str, Feature]:
    features = {key: Feature(dtype="float32", shape=(len(names),), names=names) for key in (STATE, ACTION)}
    features |= {IMAGE_PREFIX + camera: video_feature(*size, rate) for camera, size in sizes.items()}
    features[SUBTASK] = Feature(dtype="string", shape=(1,))
    return features | {name: Feature(dtype=dtype, shape=(1,)) for name, dtype in INDEX_COLUMNS.items()}


def _info(features: dict[str, Feature], state: Progress, rate: Fraction) -> dict[str, Any]:
    info = DatasetInfo(
        total_episodes=state.episodes,
        total_frames=state.frames,
        total_tasks=len(state.tasks),
        fps=rate_to_number(rate),
        splits={"train": f"0:{state.episodes}"},
        features=features,
    )
    return info.model_dump(mode="json")
