"""Progress of rollouts: a bar with the outcomes of the episodes so far, and the first error."""

from __future__ import annotations

import sys
from collections import Counter
from types import TracebackType

from wla.progress import LoopProgress
from wla.rollout.results import EpisodeResult


class EpisodeProgress(LoopProgress):
    """Context that counts finished episodes and their outcomes; after the last one the first error is printed."""

    def __init__(self, total: int, done: int = 0) -> None:
        super().__init__(total, completed=done, description="episodes")
        self._counts: Counter[str] = Counter()
        self._first_error: EpisodeResult | None = None

    def show(self, result: EpisodeResult) -> None:
        """Counts a finished episode."""
        self._counts[result.outcome] += 1
        if result.outcome == "error" and self._first_error is None:
            self._first_error = result
        tally = ", ".join(f"{count} {outcome}" for outcome, count in self._counts.items())
        self.advance(tally, f"{result.task} {result.setting}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        first = self._first_error
        if first is not None:
            all_failed = self._counts.total() == self._counts["error"]
            count = "every episode is an error" if all_failed else f"{self._counts['error']} errors"
            hint = "; `wla doctor` checks this machine" if all_failed else ""
            where = f"{first.task} {first.setting}, seed {first.seed}, step {first.steps}"
            print(f"{count}, the first: {first.error} ({where}){hint}", file=sys.stderr, flush=True)
