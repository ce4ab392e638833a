"""Policies whose memory is changed between calls, to measure how they depend on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wla.policy.wrapper import PolicyWrapper
from wla.rollout.configs import MemoryInterventionKind
from wla.types import ActionChunk, MemoryItem, Observation, Policy, PolicyState

MIN_ITEMS = 2
"""How many items are in memory when one is deleted or inserted, once in an episode."""


@dataclass(frozen=True)
class MemoryInterventionState(PolicyState):
    """applied: the memory has been changed and is not changed again in this episode."""

    applied: bool = False


class MemoryIntervention(PolicyWrapper[MemoryInterventionState]):
    """A policy that acts with another memory than its own.

    clear: an empty memory and window at every call. delete: one item, drawn by the episode's seed, is removed as soon
    as there are two. insert: at that moment the running subtask counts as finished.
    """

    def __init__(self, policy: Policy[PolicyState], kind: MemoryInterventionKind) -> None:
        super().__init__(policy)
        self._intervene = _INTERVENTIONS[kind]

    def reset(self, instruction: str, *, seed: int = 0) -> MemoryInterventionState:
        return MemoryInterventionState(**vars(self.policy.reset(instruction, seed=seed)))

    def act(
        self, observation: Observation, state: MemoryInterventionState, **options: Any
    ) -> tuple[ActionChunk, MemoryInterventionState]:
        return self.policy.act(observation, state if state.applied else self._intervene(state), **options)


def _clear(state: MemoryInterventionState) -> MemoryInterventionState:
    return replace(state, memory=(), subtasks=())


def _delete(state: MemoryInterventionState) -> MemoryInterventionState:
    if len(state.memory) < MIN_ITEMS:
        return state
    gone = int(np.random.default_rng(state.seed).integers(len(state.memory)))
    return replace(state, memory=(*state.memory[:gone], *state.memory[gone + 1 :]), applied=True)


def _insert(state: MemoryInterventionState) -> MemoryInterventionState:
    if len(state.memory) < MIN_ITEMS or not state.subtasks:
        return state
    running = MemoryItem(state.subtasks[0], state.subtask_start, state.env_step)
    return replace(state, memory=(*state.memory, running), subtasks=state.subtasks[1:], applied=True)


_INTERVENTIONS: dict[MemoryInterventionKind, Callable[[MemoryInterventionState], MemoryInterventionState]] = {
    "clear": _clear,
    "delete": _delete,
    "insert": _insert,
}
