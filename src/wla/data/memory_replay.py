"""The memory of a policy that acted on recorded frames, with its errors, as training data.

One parquet file beside a dataset, with a row for each frame at which the policy would have acted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from wla.data.lerobot.tables import read_table, typed
from wla.files import atomic_file
from wla.migrations import COLUMNS

SCHEMA = pa.schema([("index", pa.int64()), ("memory", pa.list_(pa.string())), ("subtasks", pa.list_(pa.string()))])


@dataclass(frozen=True)
class MemoryReplay:
    """Memories of N frames of a dataset.

    frames: ascending indices in the dataset. memories: finished subtasks in memory at each. subtasks: those predicted
    last.
    """

    frames: Int64[np.ndarray, " N"]
    memories: Sequence[tuple[str, ...]]
    subtasks: Sequence[tuple[str, ...]]

    def at_or_before(self, frames: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """For each frame the row of the last one that is not after it, which is of the same episode: the first frame of
        each has a row."""
        return np.searchsorted(self.frames, frames, side="right") - 1

    def save(self, path: Path) -> None:
        columns = [self.frames, list(map(list, self.memories)), list(map(list, self.subtasks))]
        table = pa.table(columns, schema=SCHEMA)
        with atomic_file(path) as target:
            pq.write_table(table, target)

    @classmethod
    def load(cls, path: Path, starts: Int64[np.ndarray, " E"]) -> MemoryReplay:
        """starts: first frame of each episode of the dataset. ValueError when the file is absent, damaged or of a
        different dataset."""
        try:
            table = read_table(path)
            table = table.rename_columns([COLUMNS.get(name, name) for name in table.column_names])
            missing = set(SCHEMA.names) - set(table.column_names)
            if missing:
                raise ValueError(f"{path}: columns {sorted(missing)} are missing")
            table = pa.table({field.name: typed(table, field.name, field.type, path) for field in SCHEMA})
        except ValueError as error:
            raise ValueError(f"no recorded memory ({error}); `wla record-memory` writes it") from error
        frames = table["index"].to_numpy()
        if not np.isin(starts, frames).all() or (np.diff(frames) <= 0).any():
            raise ValueError(f"{path}: recorded on a different dataset; run `wla record-memory` on this one")
        memories, subtasks = (list(map(tuple, table[name].to_pylist())) for name in ("memory", "subtasks"))
        return cls(frames, memories, subtasks)
