"""Raw recordings of robots -> LeRobot v3.0, whatever their layout: readers give one episode after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from wla.compat.lerobot_writing import new_dataset, write_metadata
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


@dataclass(frozen=True)
class RawEpisode:
    """One episode of T frames.

    Attributes:
        path: file.
        state: (T, S).
        actions: (T, A).
        state_names: of the S dimensions.
        action_names: of the A dimensions.
        cameras: name of the camera, the primary one first -> reader of its T images, in order.
        instructions: phrasings of the instruction; the first one becomes the task.
        subtasks: text for each frame, '' for none.
    """

    path: Path
    state: Float32[np.ndarray, "T S"]
    actions: Float32[np.ndarray, "T A"]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    cameras: dict[str, Callable[[], Iterator[UInt8[np.ndarray, "H W 3"]]]]
    instructions: tuple[str, ...]
    subtasks: tuple[str, ...]


class RawSource(Protocol):
    """Recordings of one robot in one layout."""

    fps: float
    """Frames per second, by what the files state or by their makers' convention."""

    def __len__(self) -> int:
        """Number of episodes."""

    def episodes(self) -> Iterator[RawEpisode]:
        """Reads one episode after the other. ValueError when a part of one is absent, damaged or inconsistent."""


def convert_raw(raw: RawSource, out: Path, *, fps: float | None = None) -> int:
    """Converts raw episodes. All phrasings of their instructions are written to OUT/instructions.json.

    Args:
        raw: reader of the episodes.
        out: folder of the new dataset.
        fps: frames per second; None for those of the source.

    Returns:
        Number of episodes.

    Raises:
        ValueError: an episode is incomplete, damaged or of another robot, or `out` exists or cannot be written.
    """
    rate = frame_rate(fps or raw.fps)
    state = Progress()
    features: dict[str, Feature] = {}
    phrasings: dict[str, dict[str, None]] = {}
    pending: list[EpisodeData] = []
    with new_dataset(out) as root, progress_bar() as progress:
        task = progress.add_task("converting", total=len(raw))
        for episode in raw.episodes():
            data, sizes = _encode(episode, rate)
            episode_features = _features(episode, sizes, rate)
            if episode_features != (features := features or episode_features):
                raise ValueError(
                    f"{episode.path}: has other dimensions, cameras or image sizes than the first episode; "
                    "convert each robot into a dataset of its own"
                )
            phrasings.setdefault(data.instruction, {}).update(dict.fromkeys(episode.instructions))
            pending.append(data)
            if sum(len(part.state) for part in pending) >= SHARD_FRAMES:
                write_shard(root, pending, state, rate, INDEX_COLUMNS)
                pending = []
            progress.advance(task)
        if pending:
            write_shard(root, pending, state, rate, INDEX_COLUMNS)
        write_metadata(root, _info(features, state, rate), state.tasks, state.stats)
        texts = {instruction: list(paraphrases) for instruction, paraphrases in phrasings.items()}
        (root / INSTRUCTIONS).write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return state.episodes


def _encode(episode: RawEpisode, rate: Fraction) -> tuple[EpisodeData, dict[str, tuple[int, int]]]:
    """Encodes the cameras of an episode as videos, in parallel threads, and returns their (height, width) too."""

    def encode_camera(name: str, frames: list[np.ndarray]) -> tuple[bytes, FeatureStats, tuple[int, int]]:
        sizes = {frame.shape[:2] for frame in frames}
        height, width = frames[0].shape[:2]
        if len(sizes) != 1 or height % 2 or width % 2:
            raise ValueError(
                f"{episode.path}: camera {name!r} has images of {sorted(sizes)} pixels; H.264 requires one even size"
            )
        return codec.encode(frames, rate), image_stats(frames), (height, width)

    # The files are read by this thread alone: their library is not made for several.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {name: pool.submit(encode_camera, name, list(read())) for name, read in episode.cameras.items()}
        encoded = {name: job.result() for name, job in jobs.items()}
    data = EpisodeData(
        instruction=episode.instructions[0],
        state=episode.state,
        actions=episode.actions,
        subtasks=episode.subtasks,
        videos={IMAGE_PREFIX + name: clip for name, (clip, _, _) in encoded.items()},
        image_stats={IMAGE_PREFIX + name: stats for name, (_, stats, _) in encoded.items()},
        seed=None,
        success=None,
        action_executed=None,
    )
    return data, {name: size for name, (_, _, size) in encoded.items()}


def _features(episode: RawEpisode, sizes: dict[str, tuple[int, int]], rate: Fraction) -> dict[str, Feature]:
    features = {
        key: Feature(dtype="float32", shape=(len(names),), names=list(names))
        for key, names in ((STATE, episode.state_names), (ACTION, episode.action_names))
    }
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
