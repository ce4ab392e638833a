"""How a policy's words compare with what the environment's expert would have said at the same moments.

The expert's words follow from the scene. On a policy's way they may leave out a short phase that the policy is in (it
grasps from a place that the expert would still call out of reach), so for phases of a few steps scores are too low.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from wla.data.memory import MemoryConfig, kept
from wla.rollout.results import EpisodeResult, WordScore, wilson
from wla.types import MemoryItem

_ALL = MemoryConfig(tokens=10**9)


@dataclass(frozen=True)
class WordRates:
    """Over many episodes: shares with the numbers that they are of, Wilson's 95 % intervals, mean distance in steps."""

    episodes: int
    windows: int
    exact: float
    exact_interval: tuple[float, float]
    again: float
    border_error: float | None
    borders_missed: float | None
    memory_right: float
    memory_interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.exact_interval
        off = "" if self.border_error is None else f", borders {self.border_error:.1f} steps off"
        return (
            f"{100 * self.exact:.1f} % of {self.windows} windows exact ({100 * low:.1f} .. {100 * high:.1f}){off}, "
            f"memory right in {100 * self.memory_right:.1f} % of {self.episodes} episodes, "
            f"{100 * self.again:.1f} % of calls said the same again"
        )


@dataclass
class Words:
    """Listens to an episode. truth: what is being done at each observation, in the expert's words."""

    truth: list[str] = field(default_factory=list)
    windows: list[tuple[int, tuple[str, ...], int]] = field(default_factory=list)
    memory: list[tuple[int, str]] = field(default_factory=list)
    _held: tuple[MemoryItem, ...] = ()

    def see(self, subtask: str | None) -> None:
        """An observation; None where the environment does not say."""
        if subtask is not None:
            self.truth.append(subtask)

    def hear(self, step: int, window: tuple[str, ...], horizon: int, memory: Sequence[MemoryItem]) -> None:
        """A call at control step `step` whose words are about the steps up to `horizon` later."""
        self.windows.append((step, window, horizon))
        self.memory += [(step, item.text) for item in memory if item not in self._held]
        self._held = tuple(memory)

    def score(self) -> WordScore | None:
        """None when nothing was said, or nobody knows what would have been right."""
        said = [(step, window, horizon) for step, window, horizon in self.windows if window and step < len(self.truth)]
        if not said:
            return None
        exact = sum(window == chain(self.truth[step : step + horizon + 1]) for step, window, horizon in said)
        again = sum(before[1] == now[1] for before, now in pairwise(said))
        begun = [(said[0][0], said[0][1][0])]
        begun += [(now[0], now[1][0]) for before, now in pairwise(said) if before[1][0] != now[1][0]]
        changes = [(step, text) for step, text in enumerate(self.truth) if step and text != self.truth[step - 1]]
        off = [min((abs(at - step) for at, what in begun if what == text), default=None) for step, text in changes]
        found = [steps for steps in off if steps is not None]
        return WordScore(
            windows=len(said),
            exact=exact,
            again=again,
            borders=len(found),
            steps_off=sum(found),
            missed=len(off) - len(found),
            memory_right=self._folded([item.text for item in self._held])
            == self._folded(chain(self.truth[: self.windows[-1][0] + 1])[:-1]),
        )

    @staticmethod
    def _folded(texts: Sequence[str]) -> tuple[str, ...]:
        return kept(texts, _ALL, str, len)


def chain(texts: Sequence[str]) -> tuple[str, ...]:
    """Without direct repetitions."""
    return tuple(text for index, text in enumerate(texts) if index == 0 or text != texts[index - 1])


def word_rates(results: Iterable[EpisodeResult]) -> WordRates | None:
    """None when no episode has words to compare."""
    scores = [result.words for result in results if result.words is not None]
    if not scores:
        return None
    windows, exact = sum(score.windows for score in scores), sum(score.exact for score in scores)
    borders, missed = sum(score.borders for score in scores), sum(score.missed for score in scores)
    right = sum(score.memory_right for score in scores)
    calls = windows - len(scores)
    return WordRates(
        episodes=len(scores),
        windows=windows,
        exact=exact / windows,
        exact_interval=wilson(exact, windows),
        again=sum(score.again for score in scores) / max(1, calls),
        border_error=sum(score.steps_off for score in scores) / borders if borders else None,
        borders_missed=missed / (borders + missed) if borders + missed else None,
        memory_right=right / len(scores),
        memory_interval=wilson(right, len(scores)),
    )
