"""Atomic writing of a LeRobot v3.0 folder, and its metadata files, for all converters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from av.error import FFmpegError

from wla.data.lerobot.format import INFO, STATS, TASKS
from wla.data.lerobot.text_table import tasks_table
from wla.files import atomic_dir


@contextmanager
def new_dataset(out: Path) -> Iterator[Path]:
    """Context manager of a temporary folder that is renamed to `out` on success and removed after an error.

    Raises:
        ValueError: `out` exists, or it cannot be written.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; give a new folder")
    try:
        with atomic_dir(out) as target:
            yield target
    except (OSError, FFmpegError, pa.ArrowException) as error:
        line = " ".join(str(error).split())
        raise ValueError(
            f"{out}: cannot write ({line}); nothing was left behind, free disk space and run again"
        ) from error


def write_metadata(
    root: Path, info: Mapping[str, Any], tasks: Sequence[str], stats: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes `meta/info.json`, `meta/tasks.parquet` and `meta/stats.json`.

    Args:
        root: dataset.
        info: contents of info.json.
        tasks: instructions in the order of their task_index.
        stats: feature -> name of the statistic -> value.
    """
    (root / "meta").mkdir(exist_ok=True)
    pq.write_table(tasks_table(list(tasks)), root / TASKS)
    (root / STATS).write_text(json.dumps(stats, indent=4), encoding="utf-8")
    (root / INFO).write_text(json.dumps(info, indent=4) + "\n", encoding="utf-8")
