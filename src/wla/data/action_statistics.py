"""Statistics of actions as the model represents them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32

from wla.data.action_representation import ActionRepresentation
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.normalize import VectorStatistics
from wla.data.window_source import chunk_starts

MAX_VALUES = 2**25
"""Number of values that statistics of relative actions are computed of; of more, chunks start at every second frame,
third, .."""


def action_statistics(
    datasets: Sequence[LeRobotDataset], representation: ActionRepresentation, chunk: int
) -> VectorStatistics | None:
    """Statistics over all frames of all datasets with actions; of relative actions over whole chunks from each frame.

    None when no dataset has actions. ValueError for a quaternion of norm 0, and as for `chunk_starts`.
    """
    found = [dataset for dataset in datasets if dataset.actions is not None]
    steps = chunk if representation.relative else 1
    total = sum(map(len, found)) * steps * representation.dim
    every = math.ceil(total / MAX_VALUES) if representation.relative else 1
    rows = [each for dataset in found for each in _represented(dataset, representation, steps, every)]
    return VectorStatistics.of(rows) if rows else None


def _represented(
    dataset: LeRobotDataset, representation: ActionRepresentation, steps: int, every: int
) -> Iterator[Float32[np.ndarray, "_ D"]]:
    assert dataset.actions is not None
    end = dataset.run_end
    starts = chunk_starts(dataset, 0, steps)[::every] if representation.relative else np.arange(len(dataset))
    for step in range(steps):
        first = starts[starts + step < end[starts]]
        try:
            values = representation.encode(dataset.actions[first + step][:, None], dataset.state[first])
        except ValueError as error:
            raise ValueError(f"{dataset.root}: {error}") from error
        yield values[:, 0].astype(np.float32)
