"""One line per episode: its variant, outcome and versions; and the rates over many of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from wla.json_lines import append_line, read_lines, write_lines
from wla.migrations import migrate
from wla.types import Outcome

WILSON_Z = 1.959964
"""The 97.5 % point of the normal distribution: two-sided 95 %."""


@dataclass(frozen=True)
class TaskVariant:
    """One task in one setting on one robot: everything that an environment is built from."""

    env: str
    task: str
    setting: str
    embodiment: str


@dataclass(frozen=True)
class SubtaskScore:
    """The subtasks of one episode, compared with an expert's.

    windows: calls that predicted subtasks. exact: those whose window was that of the rest of the episode. repeats:
    those equal to the call before, so that its text is accepted as a draft. transitions: changes of the true subtask
    that the policy's running one followed. boundary_error_steps: sum of their distances in control steps.
    missed_transitions: changes that it never followed. memory_correct: whether the memory at the last call held exactly
    the finished subtasks.
    """

    windows: int
    exact: int
    repeats: int
    transitions: int
    boundary_error_steps: int
    missed_transitions: int
    memory_correct: bool


@dataclass(frozen=True)
class EpisodeResult:
    """One episode, one line of ``results.jsonl``.

    error: one line with the kind, message and location of a crash, only when outcome is "error". steps: actions that
    were executed. checkpoint_sha256: None for experts and baselines. subtasks: (step, text) pairs, one at each change
    of the policy's subtasks. memory: (step, text) of every item that entered the policy's memory. subtask_metrics: None
    without predicted subtasks, or without true ones to compare them with. versions: of the libraries and the renderer.
    """

    env: str
    task: str
    setting: str
    embodiment: str
    instruction: str
    seed: int
    outcome: Outcome
    error: str | None
    steps: int
    policy: str
    checkpoint_sha256: str | None
    subtasks: tuple[tuple[int, str], ...]
    memory: tuple[tuple[int, str], ...]
    subtask_metrics: SubtaskScore | None
    versions: dict[str, str]

    @property
    def variant(self) -> TaskVariant:
        return TaskVariant(self.env, self.task, self.setting, self.embodiment)


@dataclass(frozen=True)
class Rate:
    """Successes among the n episodes that were decided; errors are counted beside them, never in n.

    rate, low and high are fractions, None when n is 0. low .. high is the Wilson 95 % interval.
    """

    n: int
    successes: int
    errors: int
    rate: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        errors = f", {self.errors} error{'s' * (self.errors != 1)} not counted" if self.errors else ""
        if self.rate is None or self.low is None or self.high is None:
            return f"no decided episode{errors}"
        return (
            f"{100 * self.rate:.1f} % ({self.successes} of {self.n}, "
            f"95 % interval {100 * self.low:.1f} .. {100 * self.high:.1f}{errors})"
        )


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a rate (Wilson 1927), n >= 1. It stays sensible at 0 and at n of n."""
    rate, z2 = successes / n, WILSON_Z**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = WILSON_Z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    # At the ends one bound is exactly the rate; rounding must not push it past.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def success_rate(results: Iterable[EpisodeResult]) -> Rate:
    """Returns the success rate of episodes with its interval; errors are counted apart."""
    outcomes = [result.outcome for result in results]
    successes, errors = outcomes.count("success"), outcomes.count("error")
    n = len(outcomes) - errors
    if n == 0:
        return Rate(0, 0, errors, None, None, None)
    return Rate(n, successes, errors, successes / n, *wilson(successes, n))


def read_results(path: Path) -> list[EpisodeResult]:
    """The finished episodes of a ``results.jsonl``; none when there is no such file.

    An episode whose line was cut off (the process was killed while writing it) is left out: it runs again. Any other
    line that does not fit raises ValueError with its number.
    """
    return [_result(row, f"{path}:{number}") for number, row in read_lines(path)]


def append_result(path: Path, result: EpisodeResult) -> None:
    """Add one line and hand it to the operating system before returning."""
    append_line(path, asdict(result))


def write_results(path: Path, results: Iterable[EpisodeResult]) -> None:
    """Replace the file, at once: a reader sees the old lines or the new ones."""
    write_lines(path, map(asdict, results))


def _result(row: Any, where: str) -> EpisodeResult:
    row = migrate("results.jsonl", row) if isinstance(row, dict) else {}
    if row.keys() != {field.name for field in fields(EpisodeResult)}:
        raise ValueError(f"{where} is not an episode result; use another --out folder")
    try:
        return _RESULT.validate_python(row)
    except ValidationError as error:
        item = error.errors()[0]
        path = ".".join(map(str, item["loc"]))
        raise ValueError(
            f"{where} is not an episode result ({path}: {item['msg']}); repair or remove the line"
        ) from error


_RESULT = TypeAdapter(EpisodeResult)
