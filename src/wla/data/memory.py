"""The textual memory of an episode: the finished subtasks that stay in the prompt, in training and in acting.

The next prompt of a policy holds its finished subtasks (the memory) and the subtasks it predicted last (the current
window).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from wla.config import Config
from wla.types import MemoryItem

_NUMBER = re.compile(r"\d+")
Item = TypeVar("Item")


class MemoryAugmentation(Config):
    """Errors that a memory has in acting and not in recordings, drawn for each training sample.

    staleness: minimum and maximum of the control steps since the policy's last prediction. memory_dropout: fraction of
    the samples without memory. previous_subtask_dropout: fraction whose prompt lacks the subtasks predicted last, so
    that the model cannot copy them. item_dropout, item_duplication: fraction whose memory lacks an item, or has one a
    second time at a random position. policy_memory_fraction: fraction, in datasets on which a policy acted
    (`wla record-memory`), with the memory of that policy.
    """

    staleness: tuple[PositiveInt, PositiveInt] = (1, 8)
    memory_dropout: float = Field(default=0.05, ge=0, le=1)
    previous_subtask_dropout: float = Field(default=0.3, ge=0, le=1)
    item_dropout: float = Field(default=0.05, ge=0, le=1)
    item_duplication: float = Field(default=0.05, ge=0, le=1)
    policy_memory_fraction: float = Field(default=0.3, ge=0, le=1)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 1 <= self.staleness[0] <= self.staleness[1]:
            raise ValueError(
                f"{self.staleness} must be the minimum and maximum in control steps, in this order and at least 1"
            )
        return self

    def corrupt(self, memory: Sequence[str], rng: np.random.Generator) -> list[str]:
        """A memory with the errors that acting could have made."""
        corrupted = list(memory)
        drop, repeat = rng.random(2) < (self.item_dropout, self.item_duplication)
        if drop and corrupted:
            del corrupted[int(rng.integers(len(corrupted)))]
        if repeat and corrupted:
            again = corrupted[int(rng.integers(len(corrupted)))]
            corrupted.insert(int(rng.integers(len(corrupted) + 1)), again)
        return corrupted


class MemoryConfig(Config):
    """Limits of the memory in a prompt.

    A repeated item is kept once, at its last position. While the items exceed the budget, the oldest is dropped.
    """

    tokens: int = Field(default=96, ge=1)
    """Maximum number of tokens of all items."""
    merge_counters: bool = True
    """Items that differ only in numbers ("press 1 of 3", "press 2 of 3") count as repetitions."""


def prune_memory(
    items: Sequence[Item], config: MemoryConfig, text: Callable[[Item], str], length: Callable[[str], int]
) -> tuple[Item, ...]:
    """The items that stay in memory, oldest first. text: of an item. length: number of tokens of a text."""
    kept: list[Item] = []
    seen: set[str] = set()
    budget = config.tokens
    for item in reversed(items):
        key = _NUMBER.sub("#", text(item)) if config.merge_counters else text(item)
        if key in seen:
            continue
        budget -= length(text(item))
        if budget < 0:
            break
        seen.add(key)
        kept.append(item)
    return tuple(reversed(kept))


def num_completed(before: Sequence[str], now: Sequence[str]) -> int:
    """Number of the subtasks `before`, predicted last, that are finished when the subtasks `now` are predicted.

    These are the ones before the current subtask, `now[0]`. If it was not predicted before, only the first one is
    finished: the others had not begun. Without a prediction nothing is finished.
    """
    if not before or not now:
        return 0
    return before.index(now[0]) if now[0] in before else 1


def update_memory(
    memory: Sequence[MemoryItem], before: Sequence[str], subtask_start: int, now: Sequence[str], step: int
) -> tuple[tuple[MemoryItem, ...], int]:
    """The memory after the subtasks `now` are predicted at control step `step`, and the step at which the first of them
    began.

    before: the subtasks predicted last, the first of which began at `subtask_start`. The time between two calls is
    divided equally among the subtasks that finished in it.
    """
    completed = num_completed(before, now)
    if not completed:
        return tuple(memory), subtask_start if before else step
    times = np.linspace(subtask_start, step, completed + 1).round().astype(int).tolist()
    new = [MemoryItem(text, times[i], times[i + 1]) for i, text in enumerate(before[:completed])]
    return (*memory, *new), step
