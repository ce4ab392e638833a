"""The files of one shard: episodes that become part of a dataset together."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Shaped

from wla.data.lerobot.format import (
    ACTION,
    DATA_PATH,
    EPISODE_COLUMNS,
    EPISODES_PATH,
    EXECUTED,
    INDEX_COLUMNS,
    SEED,
    STATE,
    SUBTASK,
    SUCCEEDED,
    VIDEO_PATH,
    file_numbers,
)
from wla.data.lerobot.stats import FeatureStats, join_stats, vector_stats
from wla.data.video import codec


@dataclass(frozen=True)
class EpisodeData:
    """One finished episode of T frames. videos (mp4) and image_stats are keyed by video feature, marks (T,) by the
    columns with a number per frame, such as rewards."""

    instruction: str
    state: Float32[np.ndarray, "T S"]
    actions: Float32[np.ndarray, "T A"] | None
    subtasks: Sequence[str]
    videos: dict[str, bytes]
    image_stats: dict[str, FeatureStats]
    seed: int | None
    success: bool | None
    action_executed: Sequence[bool] | None
    marks: dict[str, Shaped[np.ndarray, " T"]] = field(default_factory=dict)


@dataclass
class Progress:
    """What a dataset holds so far; tasks are its instructions in the order of their task_index."""

    episodes: int = 0
    frames: int = 0
    shards: int = 0
    tasks: list[str] = field(default_factory=list)
    stats: dict[str, FeatureStats] = field(default_factory=dict)

    def copy(self) -> Self:
        return copy.deepcopy(self)

    def add(self, episode: EpisodeData, stats: dict[str, FeatureStats]) -> None:
        self.stats = join_stats([self.stats, stats]) if self.stats else stats
        self.episodes += 1
        self.frames += len(episode.state)


def write_shard(
    stage: Path, episodes: Sequence[EpisodeData], progress: Progress, rate: Fraction, columns: Collection[str]
) -> None:
    """Write a shard below the folder `stage`, numbered and counted on from `progress`, which then includes it.

    columns: of the dataset; one that was begun by an earlier version has fewer.
    """
    place = file_numbers(progress.shards)
    rows: list[dict[str, Any]] = []
    tables = []
    start_in_file = 0
    for episode in episodes:
        if episode.instruction not in progress.tasks:
            progress.tasks.append(episode.instruction)
        indices = _index_columns(episode, progress, rate)
        indices = {name: values for name, values in indices.items() if name in columns}
        stats = _episode_stats(episode, indices)
        tables.append(_frames_table(episode, indices))
        rows.append(_row(episode, progress, stats, place, start_in_file, rate))
        start_in_file += len(episode.state)
        progress.add(episode, stats)
    for key in episodes[0].videos:
        path = _new_file(stage, VIDEO_PATH.format(video_key=key, **place))
        codec.join([episode.videos[key] for episode in episodes], path, rate)
    with pq.ParquetWriter(_new_file(stage, DATA_PATH.format(**place)), tables[0].schema) as writer:
        for table in tables:  # one row group per episode, as LeRobot has it
            writer.write_table(table)
    seeds = pa.array([episode.seed for episode in episodes], pa.int64())
    successes = pa.array([episode.success for episode in episodes], pa.bool_())
    action_executed = pa.array([episode.action_executed for episode in episodes], pa.list_(pa.bool_()))
    table = pa.Table.from_pylist(rows)
    for name, column in (("seed", seeds), ("success", successes), ("action_executed", action_executed)):
        table = table.append_column(name, column)
    pq.write_table(table, _new_file(stage, EPISODES_PATH.format(**place)))
    progress.shards += 1


def _new_file(stage: Path, relative: str) -> Path:
    path = stage / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _index_columns(episode: EpisodeData, progress: Progress, rate: Fraction) -> dict[str, np.ndarray]:
    length = len(episode.state)
    columns = {
        "timestamp": np.arange(length) / float(rate),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, progress.episodes),
        "index": progress.frames + np.arange(length),
        "task_index": np.full(length, progress.tasks.index(episode.instruction)),
        SEED: np.full(length, -1 if episode.seed is None else episode.seed),
        SUCCEEDED: np.full(length, -1 if episode.success is None else episode.success),
        EXECUTED: np.ones(length) if episode.action_executed is None else np.array(episode.action_executed),
    }
    return {name: columns[name].astype(dtype) for name, dtype in {**EPISODE_COLUMNS, **INDEX_COLUMNS}.items()}


def _episode_stats(episode: EpisodeData, indices: dict[str, np.ndarray]) -> dict[str, FeatureStats]:
    stats = {STATE: vector_stats(episode.state)} if episode.state.shape[1] else {}
    if episode.actions is not None:
        stats[ACTION] = vector_stats(episode.actions)
    columns = episode.marks | indices
    numbers = {name: values.astype(np.float64)[:, None] for name, values in columns.items()}
    return stats | episode.image_stats | {name: vector_stats(values) for name, values in numbers.items()}


def _frames_table(episode: EpisodeData, indices: dict[str, np.ndarray]) -> pa.Table:
    columns: dict[str, Any] = {STATE: _vectors(episode.state)} if episode.state.shape[1] else {}
    if episode.actions is not None:
        columns[ACTION] = _vectors(episode.actions)
    columns[SUBTASK] = pa.array(episode.subtasks, pa.string())
    return pa.table(columns | {name: pa.array(values) for name, values in (episode.marks | indices).items()})


def _vectors(values: Float32[np.ndarray, "T D"]) -> pa.Array:
    if values.shape[1] == 1:  # LeRobot stores features of shape (1,) as plain numbers
        return pa.array(values[:, 0])
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _row(
    episode: EpisodeData,
    progress: Progress,
    stats: dict[str, FeatureStats],
    place: dict[str, int],
    start_in_file: int,
    rate: Fraction,
) -> dict[str, Any]:
    length = len(episode.state)
    row: dict[str, Any] = {
        "episode_index": progress.episodes,
        "tasks": [episode.instruction],
        "length": length,
        "dataset_from_index": progress.frames,
        "dataset_to_index": progress.frames + length,
    }
    for folder in ("data", "meta/episodes", *(f"videos/{key}" for key in episode.videos)):
        row |= {f"{folder}/{name}": value for name, value in place.items()}
    for key in episode.videos:
        row[f"videos/{key}/from_timestamp"] = start_in_file / float(rate)
        row[f"videos/{key}/to_timestamp"] = (start_in_file + length) / float(rate)
    return row | {f"stats/{key}/{name}": value for key, part in stats.items() for name, value in part.items()}
