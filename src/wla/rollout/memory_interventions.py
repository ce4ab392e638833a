"""Policies whose memory is tampered with between calls, to see what they use it for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wla.rollout.configs import MemoryFault
from wla.types import ActionChunk, MemoryItem, Observation, PolicyState

ITEMS = 2
"""How many items are in memory when one is deleted or invented, once in an episode."""


@dataclass(frozen=True)
class TamperedState(PolicyState):
    """done: the memory has been tampered with, and is left alone from now on."""

    done: bool = False


class Tampered:
    """A policy that is told another memory than its own.

    emptied: nothing at any call, neither what was finished nor what was said last. deleted: one item, drawn by the
    episode's seed, is gone as soon as there are two. invented: at that moment what is running counts as finished.
    """

    def __init__(self, policy: Any, fault: MemoryFault) -> None:
        self._policy = policy
        self._tamper = _FAULTS[fault]
        self.robot_spec = getattr(policy, "robot_spec", None)
        self.checkpoint_sha256 = getattr(policy, "checkpoint_sha256", None)

    def reset(self, instruction: str, *, seed: int = 0) -> TamperedState:
        return TamperedState(**vars(self._policy.reset(instruction, seed=seed)))

    def act(self, observation: Observation, state: TamperedState, **more: Any) -> tuple[ActionChunk, TamperedState]:
        return self._policy.act(observation, state if state.done else self._tamper(state), **more)

    def watch(self, observation: Observation, state: TamperedState) -> TamperedState:
        return self._policy.watch(observation, state)


def _emptied(state: TamperedState) -> TamperedState:
    return replace(state, memory=(), subtasks=())


def _deleted(state: TamperedState) -> TamperedState:
    if len(state.memory) < ITEMS:
        return state
    gone = int(np.random.default_rng(state.seed).integers(len(state.memory)))
    return replace(state, memory=(*state.memory[:gone], *state.memory[gone + 1 :]), done=True)


def _invented(state: TamperedState) -> TamperedState:
    if len(state.memory) < ITEMS or not state.subtasks:
        return state
    running = MemoryItem(state.subtasks[0], state.began, state.time)
    return replace(state, memory=(*state.memory, running), subtasks=state.subtasks[1:], done=True)


_FAULTS: dict[MemoryFault, Callable[[TamperedState], TamperedState]] = {
    "emptied": _emptied,
    "deleted": _deleted,
    "invented": _invented,
}
