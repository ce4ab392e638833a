"""One line per episode: its variant, outcome and versions; and the rates over many of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from wla.control.timing_metrics import TimingScore
from wla.envs.registry import DEFAULT_PROTOCOL
from wla.files import sync
from wla.intervals import Interval, rate_interval
from wla.json_lines import append_line, read_lines, write_lines
from wla.migrations import migrate
from wla.rollout.subtask_metrics import SubtaskScore
from wla.types import Outcome


@dataclass(frozen=True)
class TaskVariant:
    """One task in one setting on one robot, measured in one way: everything that an environment is built from."""

    env: str
    task: str
    setting: str
    embodiment: str
    protocol: str = DEFAULT_PROTOCOL


@dataclass(frozen=True)
class EpisodeResult:
    """One episode, one line of ``results.jsonl``.

    error: one line with the kind, message and location of a crash, only when outcome is "error". steps: actions that
    were executed. checkpoint_sha256: None for experts and baselines. subtasks: (step, text) pairs, one at each change
    of the policy's subtasks. memory: (step, text) of every item that entered the policy's memory. subtask_metrics: None
    without predicted subtasks, or without true ones to compare them with. versions: of the libraries and the renderer.
    timing: None for a policy whose answers took no time. held: whether the goal was also held, in an environment whose
    own success does not ask for it (`wla.types.Env`); None elsewhere.
    """

    env: str
    task: str
    setting: str
    embodiment: str
    protocol: str
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
    timing: TimingScore | None = None
    held: bool | None = None

    @property
    def variant(self) -> TaskVariant:
        return TaskVariant(self.env, self.task, self.setting, self.embodiment, self.protocol)


@dataclass(frozen=True)
class Rate:
    """Successes among the n episodes that were decided; errors are counted beside them, never in n.

    interval: exact 95 % interval of the rate; None when n is 0. rate, low and high are its fractions.
    """

    n: int
    successes: int
    errors: int
    interval: Interval | None

    @property
    def rate(self) -> float | None:
        return None if self.interval is None else self.interval.estimate

    @property
    def low(self) -> float | None:
        return None if self.interval is None else self.interval.low

    @property
    def high(self) -> float | None:
        return None if self.interval is None else self.interval.high

    def __str__(self) -> str:
        errors = f", {self.errors} error{'s' * (self.errors != 1)} not counted" if self.errors else ""
        if self.interval is None:
            return f"no decided episode{errors}"
        return (
            f"{100 * self.interval.estimate:.1f} % ({self.successes} of {self.n}, "
            f"exact 95 % interval {self.interval.bounds()}{errors})"
        )


class Ended(Protocol):
    """An episode, by how it ended."""

    @property
    def outcome(self) -> Outcome: ...


def success_rate(results: Iterable[Ended]) -> Rate:
    """Returns the success rate of episodes with its interval; errors are counted apart."""
    outcomes = [result.outcome for result in results]
    return _rate(outcomes.count("success"), outcomes.count("error"), len(outcomes))


def held_rate(results: Iterable[EpisodeResult]) -> Rate | None:
    """Returns the rate of episodes that held the goal; None where their environment does not state it."""
    known = [result for result in results if result.held is not None]
    decided = [result.held for result in known if result.outcome != "error"]
    return _rate(decided.count(True), len(known) - len(decided), len(known)) if known else None


def _rate(successes: int, errors: int, episodes: int) -> Rate:
    n = episodes - errors
    return Rate(n, successes, errors, rate_interval(successes, n) if n else None)


def read_results(path: Path) -> list[EpisodeResult]:
    """The finished episodes of a ``results.jsonl``; none when there is no such file.

    Each episode, named by its variant and seed, counts once however many lines it has: its first result, or the next
    one after a crash. An episode whose line was cut off (the process was killed while writing it) is left out: it runs
    again. Any other line that does not fit raises ValueError with its number.
    """
    results: dict[tuple[TaskVariant, int], EpisodeResult] = {}
    for number, row in read_lines(path):
        result = _result(row, f"{path}:{number}")
        known = results.get((result.variant, result.seed))
        if known is None or known.outcome == "error":
            results[result.variant, result.seed] = result
    return list(results.values())


def append_result(path: Path, result: EpisodeResult) -> None:
    """Add one line and flush it to disk before returning."""
    append_line(path, asdict(result))
    sync(path)


def write_results(path: Path, results: Iterable[EpisodeResult]) -> None:
    """Replace the file, at once: a reader sees the old lines or the new ones."""
    write_lines(path, map(asdict, results))


def _result(row: Any, where: str) -> EpisodeResult:
    row = migrate("results.jsonl", row) if isinstance(row, dict) else {}
    known = {field.name: field.default is MISSING for field in fields(EpisodeResult)}
    if not {name for name, required in known.items() if required} <= row.keys() <= known.keys():
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
