"""Pseudo-actions, labelled by inverse dynamics: one parquet file beside a dataset, a row for each of its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32

from wla.data.lerobot.tables import count_rows, read_table, typed
from wla.files import atomic_file

SCHEMA = pa.schema([("action", pa.list_(pa.float32()))])


def save_pseudo_actions(actions: Float32[np.ndarray, "N A"], path: Path) -> None:
    """actions: in the robot's units, nan where they are unknown."""
    with atomic_file(path) as target:
        pq.write_table(pa.table([list(actions)], schema=SCHEMA), target)


def load_pseudo_actions(path: Path, frames: int, dim: int) -> Float32[np.ndarray, "N A"]:
    """The actions of a dataset with this number of frames and of action dimensions.

    ValueError when the file is absent, damaged, or of a different dataset or robot.
    """
    try:
        count = count_rows(path)
        # Compared before the file is decoded.
        kind = SCHEMA.field("action").type
        rows = typed(read_table(path, ["action"]), "action", kind, path).to_pylist() if count == frames else []
    except ValueError as error:
        raise ValueError(f"no pseudo-actions ({error}); `wla data label-actions` writes them") from error
    if count != frames:
        raise ValueError(f"{path}: {count} actions for {frames} frames; run `wla data label-actions` on this dataset")
    wrong = {len(row) for row in rows} - {dim}
    if wrong:
        raise ValueError(
            f"{path}: actions have {min(wrong)} dimensions, the robot's have {dim}; run "
            "`wla data label-actions` for this robot"
        )
    return np.array(rows, np.float32)
