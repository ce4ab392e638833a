"""LeRobot v2.0 and v2.1 -> v3.0, without loss: every column is copied, and no video is encoded again.

In v2.1 each episode has one parquet file and one mp4 for each camera; episodes, tasks and statistics are JSON lines.
Each mp4 is copied as a separate file, which v3.0 allows: concatenating videos of unknown encoders is not safe, because
their headers may differ and a file has only one. Format reference: huggingface/lerobot, `src/lerobot/datasets`,
codebase version v2.1.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wla.compat.episode_stats import computed_stats
from wla.compat.lerobot_writing import new_dataset, write_metadata
from wla.data.lerobot.format import (
    DATA_PATH,
    EPISODES_PATH,
    FILES_PER_CHUNK,
    INFO,
    VERSION,
    VIDEO_PATH,
    DatasetInfo,
    file_numbers,
    parse_info,
    read_info_tree,
)
from wla.data.lerobot.stats import join_stats
from wla.data.lerobot.tables import read_table
from wla.data.lerobot.v21 import is_count, read_indexed_jsonl
from wla.data.video import codec
from wla.foreign import fill_template, one_line, path_below, shown
from wla.progress import progress_bar

_STANDARD = ("min", "max", "mean", "std", "count")


def convert_v21(source: Path, out: Path) -> int:
    """Writes the dataset as v3.0 and returns its number of episodes.

    Raises:
        ValueError: a file of the source is missing, damaged or inconsistent, or `out` exists or cannot be written.
    """
    old = _Source(source)
    with new_dataset(out) as root, progress_bar() as progress:
        task = progress.add_task("converting", total=len(old.episodes))
        data = _DataFiles(root, old.info.data_files_size_in_mb)
        rows = []
        try:
            for episode in old.episodes:
                rows.append(_convert_episode(old, episode, root, data))
                progress.advance(task)
        finally:
            data.close()
        _write_episodes(rows, root, source)
        write_metadata(root, _new_info(old.info, rows), old.tasks, old.joined)
    return len(rows)


class _Source:
    """Metadata of a v2.1 folder, checked for consistency.

    Attributes:
        root: dataset.
        info: contents of info.json.
        episodes: {episode_index, length, tasks, ...}, in order.
        tasks: instructions in the order of their task_index.
        stats: one for each episode, by feature.
        joined: over all episodes.
    """

    stats: list[dict[str, Any]]
    joined: dict[str, Any]

    def __init__(self, root: Path) -> None:
        self.root = root
        tree = read_info_tree(root)
        self.info = parse_info(root, tree)
        lines = root / "meta/episodes.jsonl"
        self.episodes = read_indexed_jsonl(lines, "episode_index")
        if not self.episodes:
            raise ValueError(f"{lines}: contains no episodes; there is nothing to convert")
        for number, episode in enumerate(self.episodes):
            tasks = episode.get("tasks")
            if not is_count(episode.get("length")) or not isinstance(tasks, list) or not tasks:
                raise ValueError(f"{lines}: episode {number} needs a length and tasks; restore it")
            if not all(isinstance(task, str) for task in tasks):
                raise ValueError(f"{lines}: episode {number} has a task that is not a text; restore it")
        self.tasks = [str(line.get("task", "")) for line in read_indexed_jsonl(root / "meta/tasks.jsonl", "task_index")]
        for name in ("chunks_size", "data_files_size_in_mb"):
            if not is_count(value := getattr(self.info, name)):
                raise ValueError(f"{root / INFO}: {name} is {shown(value)}, it must be a number from 1 on; correct it")
        path = root / "meta/episodes_stats.jsonl"
        if not path.is_file():  # v2.0 has none, and neither have datasets that others made of it
            self.stats = [self._computed_stats(episode) for episode in self.episodes]
            self.joined = join_stats(self.stats)
            return
        self.stats = [
            line["stats"] if isinstance(line.get("stats"), dict) else {}
            for line in read_indexed_jsonl(path, "episode_index")
        ]
        if len(self.stats) != len(self.episodes):
            raise ValueError(f"{path}: has {len(self.stats)} episodes, {lines} {len(self.episodes)}; restore it")
        for number, stats in enumerate(self.stats):
            if stats.keys() != self.stats[0].keys():
                feature = sorted(stats.keys() ^ self.stats[0].keys())[0]
                raise ValueError(f"{path}: episode {number} and episode 0 differ in {feature!r}; restore it")
            for key, value in stats.items():
                _require_statistics(value, f"{path}: episode {number}, {shown(key)}")
        try:
            self.joined = join_stats([{key: _standard(value) for key, value in part.items()} for part in self.stats])
        except (ValueError, IndexError, TypeError) as error:
            raise ValueError(f"{path}: shapes of its statistics differ ({one_line(error)}); restore it") from error

    def _computed_stats(self, episode: dict[str, Any]) -> dict[str, Any]:
        number = episode["episode_index"]
        clips = {key: self.file(self.info.video_path or "", number, video_key=key) for key in self.info.video_keys}
        return computed_stats(self.root, self.info, self.file(self.info.data_path, number), clips, episode["length"])

    def file(self, template: str, episode: int, **names: str) -> Path:
        numbers = {"episode_chunk": episode // self.info.chunks_size, "episode_index": episode}
        source = self.root / INFO
        return path_below(self.root, fill_template(template, source, **numbers, **names), source)


class _DataFiles:
    """Parquet files of frames, with one row group for each episode, each up to a maximum size."""

    def __init__(self, root: Path, megabytes: int) -> None:
        self._root = root
        self._limit = megabytes * 1_000_000
        self._number = -1
        self._size = 0
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None

    def add(self, table: pa.Table, path: Path) -> dict[str, int]:
        """Appends an episode.

        Args:
            table: frames of the episode.
            path: their source, for error messages.

        Returns:
            Numbers of chunk and file that contain the episode.
        """
        schema = self._schema = self._schema or table.schema
        try:
            table = table.select(schema.names).cast(schema)
        except (pa.ArrowException, KeyError) as error:
            line = str(error).splitlines()[0]
            raise ValueError(f"{path}: columns differ from those of the other episodes ({line}); restore it") from error
        if self._writer is None or self._size + table.nbytes > self._limit:
            self.close()
            self._number += 1
            target = self._root / DATA_PATH.format(**file_numbers(self._number))
            target.parent.mkdir(parents=True, exist_ok=True)
            self._writer, self._size = pq.ParquetWriter(target, schema), 0
        self._writer.write_table(table)
        self._size += table.nbytes
        return file_numbers(self._number)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _convert_episode(old: _Source, episode: dict[str, Any], root: Path, data: _DataFiles) -> dict[str, Any]:
    """Copies the frames and videos of an episode and returns its row of `meta/episodes`, without its frame range."""
    number, length = episode["episode_index"], episode["length"]
    path = old.file(old.info.data_path, number)
    table = read_table(path)
    if len(table) != length:
        raise ValueError(f"{path}: has {len(table)} rows, but {length} in meta/episodes.jsonl; restore it")
    row = dict(episode)
    row |= {f"data/{name}": value for name, value in data.add(table, path).items()}
    for key in old.info.video_keys:
        if old.info.video_path is None:
            raise ValueError(f"{old.root / INFO}: has the video {key!r} but no video_path; restore it")
        clip = old.file(old.info.video_path, number, video_key=key)
        if (frames := codec.probe(clip).frames) != length:
            raise ValueError(f"{clip}: has {frames} frames, episode {number} has {length}; restore it")
        numbers = file_numbers(number)
        target = path_below(root, VIDEO_PATH.format(video_key=key, **numbers), old.root / INFO)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, target)
        row |= {f"videos/{key}/{name}": value for name, value in numbers.items()}
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / old.info.fps}
    return row | {f"stats/{key}/{name}": v for key, part in old.stats[number].items() for name, v in part.items()}


def _write_episodes(rows: list[dict[str, Any]], root: Path, source: Path) -> None:
    start = 0
    for row in rows:
        row |= {"dataset_from_index": start, "dataset_to_index": start + row["length"]}
        row |= {f"meta/episodes/{name}": value for name, value in file_numbers(0).items()}
        start += row["length"]
    path = root / EPISODES_PATH.format(**file_numbers(0))
    path.parent.mkdir(parents=True)
    try:
        table = pa.Table.from_pylist(rows)
    except pa.ArrowException as error:
        line = str(error).splitlines()[0]
        raise ValueError(
            f"{source}: the episodes in meta/*.jsonl have values of different types ({line}); restore them"
        ) from error
    pq.write_table(table, path)


def _new_info(info: DatasetInfo, rows: list[dict[str, Any]]) -> dict[str, Any]:
    tree = info.model_dump(mode="json", exclude={"total_chunks", "total_videos"})
    return tree | {
        "codebase_version": VERSION,
        "total_episodes": len(rows),
        "total_frames": sum(row["length"] for row in rows),
        "chunks_size": FILES_PER_CHUNK,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if info.video_keys else None,
    }


def _standard(stats: dict[str, Any]) -> dict[str, Any]:
    """Returns the statistics that can be joined over episodes; quantiles cannot, and stay with their episode."""
    return {name: stats[name] for name in _STANDARD}


def _require_statistics(stats: Any, where: str) -> None:
    """ValueError when these are not the statistics of a feature: lists of numbers, and the number of frames."""
    if not isinstance(stats, dict) or not set(_STANDARD) <= set(stats):
        raise ValueError(f"{where} lacks one of {_STANDARD}; restore it")
    try:
        shapes = {np.asarray(stats[name], np.float64).shape for name in _STANDARD[:-1]}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} has a value that is not a number; restore it") from error
    count = stats["count"]
    if len(shapes) != 1 or not isinstance(count, list) or len(count) != 1 or not is_count(count[0]):
        raise ValueError(f"{where} has values of different shapes, or no count; restore it")
