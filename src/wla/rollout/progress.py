"""A progress bar with the outcomes of the episodes."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wla.rollout.results import EpisodeResult


class EpisodeProgress:
    """Use as a context; call `show` with each finished episode. Draws on stderr, so that stdout stays clean."""

    def __init__(self, total: int, done: int = 0) -> None:
        self._counts: Counter[str] = Counter()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[tally]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("episodes", total=total, completed=done, tally="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def show(self, result: EpisodeResult) -> None:
        self._counts[result.outcome] += 1
        tally = ", ".join(f"{count} {outcome}" for outcome, count in self._counts.items())
        self._bar.update(self._task, advance=1, description=f"{result.task} {result.setting}", tally=tally)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
