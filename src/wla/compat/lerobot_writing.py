"""What the converters share: writing a LeRobot v3.0 folder whole or not at all, and its descriptive files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from av.error import FFmpegError

from wla.data.lerobot.format import INFO, STATS, TASKS, tasks_table
from wla.files import atomic_dir


@contextmanager
def new_dataset(out: Path) -> Iterator[Path]:
    """A folder to write into that becomes `out` when the block ends well, and vanishes when it does not.

    ValueError when `out` exists, or when it cannot be written.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; give a new folder")
    try:
        with atomic_dir(out) as fresh:
            yield fresh
    except (OSError, FFmpegError, pa.ArrowException) as error:
        line = " ".join(str(error).split())
        raise ValueError(
            f"{out}: cannot write ({line}); nothing was left behind, free disk space and run again"
        ) from error


def write_metadata(
    root: Path, info: Mapping[str, Any], tasks: Sequence[str], stats: Mapping[str, Mapping[str, Any]]
) -> None:
    """`meta/info.json`, `meta/tasks.parquet` and `meta/stats.json`. tasks: in the order of their task_index."""
    (root / "meta").mkdir(exist_ok=True)
    pq.write_table(tasks_table(list(tasks)), root / TASKS)
    (root / STATS).write_text(json.dumps(stats, indent=4), encoding="utf-8")
    (root / INFO).write_text(json.dumps(info, indent=4) + "\n", encoding="utf-8")
