"""The textual memory of an episode: which finished subtasks are kept, in training and in acting.

A policy tells its next prompt what it finished (the memory) and what it said last (the window that is running).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from wla.config import Config
from wla.types import MemoryItem

_NUMBER = re.compile(r"\d+")
Item = TypeVar("Item")


class MemoryAugmentation(Config):
    """What acting does to a memory that recordings do not show; training draws it for each sample.

    lag: least and most control steps since the policy spoke last. forgotten: share of the samples that are told
    nothing. windowless: share whose prompt lacks the window that was said last, so that the words are not a copy of it.
    dropped, repeated: share whose memory lacks an item, or has one again where it does not belong. own: share,
    of a dataset on which a policy has acted (`wla record-memory`), that is told what it remembered.
    """

    staleness: tuple[int, int] = (1, 8)
    memory_dropout: float = Field(default=0.05, ge=0, le=1)
    previous_subtask_dropout: float = Field(default=0.3, ge=0, le=1)
    item_dropout: float = Field(default=0.05, ge=0, le=1)
    item_duplication: float = Field(default=0.05, ge=0, le=1)
    policy_memory_fraction: float = Field(default=0.3, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 1 <= self.staleness[0] <= self.staleness[1]:
            raise ValueError(f"lag {self.staleness}: least and most control steps, at least 1")
        return self

    def corrupt(self, memory: Sequence[str], rng: np.random.Generator) -> list[str]:
        """A memory as acting might have left it."""
        spoiled = list(memory)
        drop, repeat = rng.random(2) < (self.item_dropout, self.item_duplication)
        if drop and spoiled:
            del spoiled[int(rng.integers(len(spoiled)))]
        if repeat and spoiled:
            again = spoiled[int(rng.integers(len(spoiled)))]
            spoiled.insert(int(rng.integers(len(spoiled) + 1)), again)
        return spoiled


class MemoryConfig(Config):
    """How much of the past a prompt tells.

    An item that is said again stands once, at its last place. When the rest is over the budget, the oldest are dropped.
    """

    tokens: int = Field(default=96, ge=1)
    """Budget of the items' texts."""
    merge_counters: bool = True
    """Items that differ in numbers only ("press 1 of 3", "press 2 of 3") count as the same one, said again."""


def prune_memory(
    items: Sequence[Item], config: MemoryConfig, text: Callable[[Item], str], length: Callable[[str], int]
) -> tuple[Item, ...]:
    """The items that stay in memory, oldest first. length: tokens of a text."""
    found: list[Item] = []
    kinds: set[str] = set()
    room = config.tokens
    for item in reversed(items):
        kind = _NUMBER.sub("#", text(item)) if config.merge_counters else text(item)
        if kind in kinds:
            continue
        room -= length(text(item))
        if room < 0:
            break
        kinds.add(kind)
        found.append(item)
    return tuple(reversed(found))


def num_completed(before: Sequence[str], now: Sequence[str]) -> int:
    """How many of the subtasks of the window `before` are over when the window `now` is said.

    Those before the one that is running now. When that one was not foreseen, only the one that was running is over: the
    others had not begun. A policy that says nothing finishes nothing.
    """
    if not before or not now:
        return 0
    return before.index(now[0]) if now[0] in before else 1


def update_memory(
    memory: Sequence[MemoryItem], before: Sequence[str], subtask_start: int, now: Sequence[str], step: int
) -> tuple[tuple[MemoryItem, ...], int]:
    """The memory once the window `now` is said at control step `step`, and the step at which its first subtask began.

    before: the window that was said last, whose first subtask began at step `began`. Where several subtasks ended
    between two calls, they share the time.
    """
    over = num_completed(before, now)
    if not over:
        return tuple(memory), subtask_start if before else step
    times = np.linspace(subtask_start, step, over + 1).round().astype(int).tolist()
    new = [MemoryItem(text, times[i], times[i + 1]) for i, text in enumerate(before[:over])]
    return (*memory, *new), step
