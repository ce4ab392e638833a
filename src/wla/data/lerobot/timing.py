"""Runs of frames that follow each other at the dataset's rate, the gaps between them, and frames out of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Int64, Shaped

from wla.data.lerobot.format import INFO

MAX_NAMED = 4
"""Number of gaps that a line names."""


@dataclass(frozen=True)
class Run:
    """`length` frames of an episode, from its frame `first`, without a gap between them.

    time: of the first one, in seconds of the episode. gap: seconds since the frame before it, 0 for the first run.
    """

    episode: int
    first: int
    length: int
    time: float
    gap: float = 0.0


@dataclass(frozen=True)
class Untimely:
    """A frame of an episode that is not where the column `name` should have it."""

    episode: int
    frame: int
    name: str
    value: float
    expected: float

    def message(self, fps: float) -> str:
        return f"{self.name} is {self.value:.10g}, it must be {self.expected:g} (fps {fps:g})"


@dataclass(frozen=True)
class Clock:
    """When the frames of a dataset are shown.

    fps: its rate. by_time: whether frames are found by their times, as those of videos are. Single images lie beside
    the rows: their times only tell where there is a gap.
    """

    fps: float
    by_time: bool

    def runs(
        self,
        frame_index: Shaped[np.ndarray, " N"] | None,
        timestamp: Shaped[np.ndarray, " N"] | None,
        starts: Int64[np.ndarray, " E"],
        lengths: Int64[np.ndarray, " E"],
    ) -> tuple[list[Run], list[Untimely]]:
        """The runs of all episodes, and a frame of each that is out of order or, where times count, out of time.

        frame_index, timestamp: columns, None for those that the dataset lacks. starts, lengths: of the episodes, which
        follow each other.
        """
        columns = [(frame_index, 1.0), (timestamp, 1 / self.fps)]
        rows = [irregular(values, starts, lengths, step) for values, step in columns if values is not None]
        special = set(np.unique(np.searchsorted(starts, np.concatenate([[], *rows]), side="right") - 1).tolist())
        runs: list[Run] = []
        untimely: list[Untimely] = []
        for episode, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            time = 0.0 if timestamp is None else float(timestamp[start])
            if episode not in special:
                runs.append(Run(episode, 0, length, time))
                continue
            index, times = (None if part is None else part[start : start + length] for part in (frame_index, timestamp))
            found, problem = self._episode(episode, index, times, length)
            runs += found
            untimely += [problem] if problem else []
        return runs, untimely

    def _episode(
        self, episode: int, index: np.ndarray | None, times: np.ndarray | None, length: int
    ) -> tuple[list[Run], Untimely | None]:
        """The runs of an episode that is not regular."""
        cuts, problem = np.zeros(0, np.int64), None
        if index is not None:
            cuts = _breaks(index, 1.0)
            if not (np.diff(index) >= 1).all():  # rows without an order
                problem = _first_untimely(episode, "frame_index", index, 1.0)
        if times is None:
            times = np.arange(length) / self.fps if index is None else (index - index[0]) / self.fps
        elif len(_irregular_episode(times, 1 / self.fps)):
            own = _breaks(times, 1 / self.fps)
            parts = np.split(times, own)
            back = any(later[0] < earlier[-1] for earlier, later in pairwise(parts))
            if self.by_time and (back or any(len(_irregular_episode(part, 1 / self.fps)) for part in parts)):
                problem = problem or _first_untimely(episode, "timestamp", times, 1 / self.fps)
            cuts = np.union1d(cuts, own)
        firsts = [0, *cuts.tolist()]
        gaps = [0.0, *(float(times[cut] - times[cut - 1]) for cut in cuts)]
        return [
            Run(episode, first, end - first, float(times[first]), gap)
            for first, end, gap in zip(firsts, [*firsts[1:], length], gaps, strict=True)
        ], problem

    def gaps_line(self, runs: Iterable[Run]) -> str | None:
        """A line about the gaps between runs; None without any."""
        gaps = [run for run in runs if run.first]
        if not gaps:
            return None
        named = [f"episode {run.episode} frame {run.first} ({run.gap:.3g} s)" for run in gaps[:MAX_NAMED]]
        more = f" and {len(gaps) - MAX_NAMED} more" if gaps[MAX_NAMED:] else ""
        return (
            f"frames are missing, or time jumps, before {', '.join(named)}{more}: {1 / self.fps:.3g} s is usual; no "
            "chunk goes across"
        )


def irregular(
    values: Shaped[np.ndarray, " N"], starts: Int64[np.ndarray, " E"], lengths: Int64[np.ndarray, " E"], step: float
) -> Int64[np.ndarray, " _"]:
    """The rows whose value is not `step` times their place in the episode after the episode's first value, within half
    a step where it is not 1: float32 seconds are that precise for hours, and a wrong rate is found at the second frame.

    starts, lengths: of the episodes, which follow each other.
    """
    within = np.arange(len(values)) - np.repeat(starts, lengths)
    expected = np.repeat(values[starts], lengths) + step * within
    return np.flatnonzero(~(np.abs(values - expected) <= (0 if step == 1 else step / 2)))


def other_rate(times: Shaped[np.ndarray, " N"], fps: float) -> str | None:
    """A message for times that follow each other at another rate than the dataset's; None for the same."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    typical = float(np.median(steps)) if steps.size else 1 / fps
    if abs(typical * fps - 1) < 0.02:
        return None
    return f"the frames are {typical:.4g} s apart, {1 / typical:.4g} frames/s, and {INFO} has fps {fps:g}"


def _irregular_episode(values: np.ndarray, step: float) -> Int64[np.ndarray, " _"]:
    return irregular(values, np.array([0]), np.array([len(values)]), step)


def _breaks(values: np.ndarray, step: float) -> Int64[np.ndarray, " _"]:
    """The rows of an episode that are a step and a half or more after the row before, or half a step before it."""
    steps = np.diff(values) / step
    return np.flatnonzero((steps >= 1.5) | (steps <= -0.5)) + 1


def _first_untimely(episode: int, name: str, values: np.ndarray, step: float) -> Untimely:
    frame = int(_irregular_episode(values, step)[0])
    return Untimely(episode, frame, name, float(values[frame]), float(values[0]) + step * frame)
