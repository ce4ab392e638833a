"""Publication of shards: the only code that adds to a dataset folder.

New files are written into a staging folder, flushed to disk and then renamed into place, `meta/info.json` last. Readers
rely on `info.json`: a crash, Ctrl-C or full disk at any moment leaves a valid dataset with all shards published before.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from av.error import FFmpegError

from wla.data.lerobot.columns import features_for
from wla.data.lerobot.episode_table import read_episodes
from wla.data.lerobot.format import (
    ACTION,
    DATA_PATH,
    EPISODE_COLUMNS,
    INFO,
    INTERVENTION,
    REWARD,
    ROBOT,
    SEED,
    STATS,
    TASKS,
    DatasetInfo,
    frame_rate,
    rate_to_number,
    read_info,
)
from wla.data.lerobot.language import PERSISTENT
from wla.data.lerobot.staging import EpisodeData, Progress, write_shard
from wla.data.lerobot.stats import join_stats
from wla.data.lerobot.text_table import read_tasks, tasks_table
from wla.files import disk_errors, sync, sync_tree
from wla.foreign import one_line, path_below
from wla.specs import RobotSpec

_STAGING = ".staging-"


class ShardStore:
    """A dataset folder of one robot, created when absent, to which shards are appended. One process at a time."""

    def __init__(self, root: Path, spec: RobotSpec, *, with_actions: bool, marks: Mapping[str, str]) -> None:
        """marks: column -> type of those with a number per frame.

        ValueError when `root` holds something else, or data of a different robot or with different columns."""
        self.root = root
        self.rate = frame_rate(spec.action.rate_hz)
        self._progress = Progress()
        self.published: list[tuple[int | None, str]] = []
        """Seed and instruction of the episodes that were here when the dataset was opened."""
        if (root / INFO).exists():
            self._open(spec, with_actions=with_actions, marks=marks)
        else:
            self._create(spec, with_actions=with_actions, marks=marks)
        for leftover in root.glob(f"{_STAGING}*"):
            shutil.rmtree(path_below(root, leftover.name, root))

    @property
    def total_episodes(self) -> int:
        return self._progress.episodes

    def publish(self, episodes: Sequence[EpisodeData]) -> None:
        """Appends a shard of these episodes, or nothing. ValueError: the disk is full or another process wrote here."""
        if read_info(self.root).total_episodes != self.total_episodes:
            raise ValueError(f"{self.root}: another process wrote into this dataset; collect into separate folders")
        progress = self._progress.copy()
        with self._disk_errors():
            stage = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.root))
            try:
                write_shard(stage, episodes, progress, self.rate, self._info.features.keys())
                pq.write_table(tasks_table(progress.tasks), stage / TASKS)
                (stage / STATS).write_text(json.dumps(progress.stats, indent=4), encoding="utf-8")
                (stage / INFO).write_text(_info_json(self._info, progress), encoding="utf-8")
                _move_files(stage, self.root, last=INFO)
            finally:
                # After an interrupt right after the last rename the shard is published: what is on disk decides.
                if read_info(self.root).total_episodes == progress.episodes:
                    self._progress = progress
                shutil.rmtree(stage)

    def _create(self, spec: RobotSpec, *, with_actions: bool, marks: Mapping[str, str]) -> None:
        if self.root.exists() and (
            not self.root.is_dir() or any(not entry.name.startswith(".") for entry in self.root.iterdir())
        ):
            raise ValueError(f"{self.root}: exists and is not a dataset; give a new folder")
        self._info = DatasetInfo(
            robot_type=spec.embodiment,
            fps=rate_to_number(self.rate),
            features=features_for(spec, with_actions=with_actions, marks=marks),
        )
        with disk_errors(self.root, "free disk space or choose another folder"):
            self.root.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.root))
            try:
                (stage / "meta").mkdir()
                spec.save(stage / ROBOT)
                (stage / INFO).write_text(_info_json(self._info, self._progress), encoding="utf-8")
                (stage / "meta").rename(self.root / "meta")
            finally:
                shutil.rmtree(stage)

    def _open(self, spec: RobotSpec, *, with_actions: bool, marks: Mapping[str, str]) -> None:
        self._info = read_info(self.root)
        if not (self.root / ROBOT).exists():
            raise ValueError(f"{self.root}: dataset of another program, {ROBOT} is missing; write into a new folder")
        RobotSpec.load(self.root / ROBOT).require_equal(spec, ours=str(self.root), theirs="the new episodes")
        if (ACTION in self._info.features) != with_actions:
            has, new = ("no actions", "have them") if with_actions else ("actions", "have none")
            raise ValueError(f"{self.root}: the dataset has {has} and the new episodes {new}; write into a new folder")
        for name, what in ((REWARD, "rewards"), (INTERVENTION, "marks of interventions")):
            if (name in self._info.features) != (name in marks):
                has, new = (f"no {what}", "have them") if name in marks else (what, "have none")
                raise ValueError(
                    f"{self.root}: the dataset has {has} and the new episodes {new}; write into a new folder"
                )
        if PERSISTENT in self._info.features:
            raise ValueError(f"{self.root}: has been annotated; write the new episodes into a new folder")
        ours = features_for(spec, with_actions=with_actions, marks=marks)
        # A dataset that an earlier version began is continued without the columns that it does not have.
        known = {*self._info.features, *EPISODE_COLUMNS} if SEED not in self._info.features else {*self._info.features}
        if known != ours.keys() or self._info.data_path != DATA_PATH:
            raise ValueError(f"{self.root}: dataset of another program; write the new episodes into a new folder")
        rows, _ = read_episodes(self.root, self._info, with_stats=True)
        self.published = [(row.get("seed"), next(iter(row["tasks"]), "")) for row in rows]
        if rows:
            last = rows[-1]
            try:
                stats = join_stats([_row_stats(row) for row in rows])
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{self.root}/meta/episodes: statistics of its episodes are damaged ({one_line(error)}); write the "
                    "new episodes into a new folder"
                ) from error
            self._progress = Progress(
                episodes=len(rows),
                frames=last["dataset_to_index"],
                shards=last["data/chunk_index"] * self._info.chunks_size + last["data/file_index"] + 1,
                tasks=read_tasks(self.root),
                stats=stats,
            )

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, FFmpegError, pa.ArrowException) as error:
            raise ValueError(
                f"{self.root}: cannot write ({error}); the dataset keeps its {self.total_episodes} published episodes, "
                "free disk space and run again to continue"
            ) from error


def _row_stats(row: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The statistics in a row of `meta/episodes`, by feature and then by name."""
    stats: dict[str, dict[str, Any]] = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            feature, _, name = column.removeprefix("stats/").rpartition("/")
            stats.setdefault(feature, {})[name] = value
    return stats


def _info_json(info: DatasetInfo, progress: Progress) -> str:
    tree = info.model_dump(mode="json") | {
        "total_episodes": progress.episodes,
        "total_frames": progress.frames,
        "total_tasks": len(progress.tasks),
        "splits": {"train": f"0:{progress.episodes}"},
    }
    return json.dumps(tree, indent=4) + "\n"


def _move_files(source: Path, target: Path, *, last: str) -> None:
    """Flushes all files below `source` to disk and moves them to the same path below `target`, `last` at the end, when
    the names of the others are on the disk too."""
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    files.sort(key=lambda path: str(path) == last)
    sync_tree(source)
    for path in files:
        if str(path) == last:
            for folder in {parent for other in files for parent in other.parents}:
                sync(target / folder)
        path_below(target, path.parent.as_posix(), target).mkdir(parents=True, exist_ok=True)
        os.replace(source / path, target / path)
    sync((target / last).parent)
