"""Checks of the times of frames: order, rate, gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from wla.data.lerobot.format import INFO, DatasetInfo
from wla.data.lerobot.timing import Clock, Run, irregular, other_rate
from wla.data.validation.issues import Issue


class TimeCheck:
    """Collects the runs of episodes, and what is wrong with their times.

    runs: episode -> its runs of frames without gaps.
    """

    def __init__(self, info: DatasetInfo) -> None:
        self._clock = Clock(float(info.fps), by_time=bool(info.video_keys))
        self._other_rates: list[str] = []
        self._issues: list[Issue] = []
        self.runs: dict[int, list[Run]] = {}

    def episode(self, table: pa.Table, episode: int) -> None:
        """Adds the rows of an episode."""
        fps, start, length = self._clock.fps, np.array([0]), np.array([len(table)])
        index, times = (
            table[name].to_numpy() if name in table.column_names else None for name in ("frame_index", "timestamp")
        )
        late = np.zeros(0, int) if times is None else irregular(times, start, length, 1 / fps)
        if times is not None and late.size and (rate := other_rate(times, fps)):
            self._other_rates.append(rate)
            return
        runs, untimely = self._clock.runs(index, times, start, length)
        self.runs.setdefault(episode, [replace(run, episode=episode) for run in runs])
        for problem in untimely:
            message = f"frame {problem.frame}: {problem.message(fps)}"
            self._issues.append(Issue("error", episode, message, "restore the missing frames or remove the episode"))
        if times is not None and late.size and not untimely and len(runs) == 1:
            message = f"the timestamps drift from frame {late[0]} on, where it is {times[late[0]]:g} (fps {fps:g})"
            fix = "nothing: its images lie beside the rows, and are read in their order"
            self._issues.append(Issue("warning", episode, message, fix))

    def finish(self) -> list[Issue]:
        """All issues, including those of the dataset as a whole."""
        issues = list(self._issues)
        if line := self._clock.gaps_line(run for runs in self.runs.values() for run in runs):
            issues.append(Issue("warning", None, line, "nothing, if they were left out on purpose"))
        if self._other_rates:
            issues.append(Issue("error", None, self._other_rates[0], f"correct fps in {INFO}"))
        return issues
