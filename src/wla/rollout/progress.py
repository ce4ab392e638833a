"""Progress of rollouts: a bar with the outcomes of the episodes so far."""

from __future__ import annotations

from collections import Counter

from wla.progress import LoopProgress
from wla.rollout.results import EpisodeResult


class EpisodeProgress(LoopProgress):
    """Context that counts finished episodes and their outcomes."""

    def __init__(self, total: int, done: int = 0) -> None:
        super().__init__(total, completed=done, description="episodes")
        self._counts: Counter[str] = Counter()

    def show(self, result: EpisodeResult) -> None:
        """Counts a finished episode."""
        self._counts[result.outcome] += 1
        tally = ", ".join(f"{count} {outcome}" for outcome, count in self._counts.items())
        self.advance(tally, f"{result.task} {result.setting}")
