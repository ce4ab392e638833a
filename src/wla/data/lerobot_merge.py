"""Join datasets that were recorded in parallel."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from wla.data.lerobot import Episode, LeRobotDataset
from wla.data.lerobot_format import VIDEO_PATH, file_numbers, read_episodes, read_info
from wla.data.lerobot_shards import ShardStore, row_stats
from wla.data.lerobot_staging import EpisodeData, Shard


def merge(sources: Sequence[Path | str], target: Path | str) -> None:
    """Append the episodes of datasets that `DatasetWriter` wrote to the dataset `target`, created when absent.

    For parallel collection: every worker process writes a dataset of its own, then they are merged. Videos are copied,
    not encoded again. All sources or none become part of `target`; they stay as they are, so delete them afterwards.
    Sources without episodes are passed over. ValueError when a source is damaged or of another robot than the others.
    """
    datasets = [LeRobotDataset(source) for source in sources if read_info(Path(source)).total_episodes]
    if not datasets:
        raise ValueError(f"{target}: nothing to merge, no source has an episode; collect some first")
    first = datasets[0]
    for dataset in datasets:
        if first.robot_spec is None or dataset.robot_spec is None:
            raise ValueError(f"{dataset.root}: recorded by another program; only datasets of `wla` can be merged")
        first.robot_spec.require_equal(dataset.robot_spec, ours=str(first.root), theirs=str(dataset.root))
        if (dataset.actions is None) != (first.actions is None):
            raise ValueError(f"{dataset.root} and {first.root}: one has actions, the other none; merge them separately")
    assert first.robot_spec is not None
    store = ShardStore(Path(target), first.robot_spec, with_actions=first.actions is not None)
    store.publish([shard for dataset in datasets for shard in _shards(dataset)])


def _shards(dataset: LeRobotDataset) -> list[Shard]:
    rows = read_episodes(dataset.root, dataset.info, with_stats=True)
    numbered = list(zip(dataset.episodes, rows, strict=True))
    return [
        _copied_shard(dataset, dict(zip(file_numbers(0), place, strict=True)), list(part))
        for place, part in groupby(numbered, lambda pair: (pair[1]["data/chunk_index"], pair[1]["data/file_index"]))
    ]


def _copied_shard(
    dataset: LeRobotDataset, place: dict[str, int], numbered: Sequence[tuple[Episode, dict[str, Any]]]
) -> Shard:
    def write_video(key: str, path: Path) -> None:
        shutil.copyfile(dataset.root / VIDEO_PATH.format(video_key=key, **place), path)

    return Shard([_episode(dataset, episode, row) for episode, row in numbered], write_video)


def _episode(dataset: LeRobotDataset, episode: Episode, row: dict[str, Any]) -> EpisodeData:
    frames = slice(episode.start, episode.end)
    texts = (*dataset.subtask_texts, "")  # -1 is the last one: no subtask
    subtasks = [""] * len(episode) if dataset.subtasks is None else [texts[i] for i in dataset.subtasks[frames]]
    stats = row_stats(row)
    return EpisodeData(
        instruction=episode.instruction,
        state=dataset.state[frames],
        actions=None if dataset.actions is None else dataset.actions[frames],
        subtasks=subtasks,
        image_stats={key: stats[key] for key in dataset.info.video_keys},
        seed=episode.seed,
    )
