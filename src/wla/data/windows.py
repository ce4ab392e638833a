"""Frame indices of training samples: index arithmetic only, no data.

Letters: t the current frame, h history distance, n chunk length, B any number of samples at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64


@dataclass(frozen=True)
class Window:
    """Frame indices of samples, clamped to the episode; masks are True where an index is not clamped.

    history_mask: of t - h. chunk: t .. t + n - 1. subgoal: t + n, or t plus another offset.
    """

    history_mask: Bool[np.ndarray, " B"]
    chunk: Int64[np.ndarray, "B n"]
    chunk_mask: Bool[np.ndarray, "B n"]
    subgoal: Int64[np.ndarray, " B"]
    subgoal_mask: Bool[np.ndarray, " B"]


def window(
    index: Int64[np.ndarray, " B"],
    episode_start: Int64[np.ndarray, " B"] | int,
    episode_end: Int64[np.ndarray, " B"] | int,
    chunk: int,
    history: int,
    subgoal_offset: Int64[np.ndarray, " B"] | int | None = None,
) -> Window:
    """The windows of the frames t = `index`, each in its episode start <= t < end.

    chunk: n >= 1, in frames. history: h >= 0, in frames. subgoal_offset: frames from t to the subgoal, negative before
    t; None for n. ValueError when n or h is too small, or when t is outside its episode.
    """
    if chunk < 1 or history < 0:
        raise ValueError(f"chunk must be at least 1 and history at least 0 frames, they are {chunk} and {history}")
    t, start, end = np.broadcast_arrays(*(np.asarray(v, np.int64) for v in (index, episode_start, episode_end)))
    outside = np.flatnonzero((t < start) | (t >= end))
    if outside.size:
        i = outside[0]
        raise ValueError(f"frame {t[i]} is outside its episode, {start[i]} <= frame < {end[i]}")
    subgoal = t + (chunk if subgoal_offset is None else subgoal_offset)
    steps = t[:, None] + np.arange(chunk)
    return Window(
        history_mask=t - history >= start,
        chunk=np.minimum(steps, end[:, None] - 1),
        chunk_mask=steps < end[:, None],
        subgoal=np.clip(subgoal, start, end - 1),
        subgoal_mask=(start <= subgoal) & (subgoal < end),
    )


def subtask_window(subtasks: Int64[np.ndarray, " N"], first: int, last: int) -> tuple[int, ...]:
    """Consecutive distinct subtasks of the frames first .. last, both ends included.

    The textual intention of a chunk of n actions from frame t is that of the frames t .. t + n, cut at the end of the
    episode. Frames without a subtask (-1) are skipped.
    """
    span = subtasks[first : last + 1]
    span = span[span >= 0]
    changes = np.flatnonzero(np.diff(span)) + 1
    return tuple(int(value) for value in span[np.concatenate(([0], changes))]) if span.size else ()
