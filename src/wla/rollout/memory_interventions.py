"""Policies whose memory is tampered with between calls, to see what they use it for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wla.rollout.configs import MemoryInterventionKind
from wla.types import ActionChunk, MemoryItem, Observation, PolicyState

MIN_ITEMS = 2
"""How many items are in memory when one is deleted or invented, once in an episode."""


@dataclass(frozen=True)
class MemoryInterventionState(PolicyState):
    """done: the memory has been tampered with, and is left alone from now on."""

    applied: bool = False


class MemoryIntervention:
    """A policy that is told another memory than its own.

    emptied: nothing at any call, neither what was finished nor what was said last. deleted: one item, drawn by the
    episode's seed, is gone as soon as there are two. invented: at that moment what is running counts as finished.
    """

    def __init__(self, policy: Any, fault: MemoryInterventionKind) -> None:
        self._policy = policy
        self._intervene = _INTERVENTIONS[fault]
        self.robot_spec = getattr(policy, "robot_spec", None)
        self.checkpoint_sha256 = getattr(policy, "checkpoint_sha256", None)

    def reset(self, instruction: str, *, seed: int = 0) -> MemoryInterventionState:
        return MemoryInterventionState(**vars(self._policy.reset(instruction, seed=seed)))

    def act(
        self, observation: Observation, state: MemoryInterventionState, **more: Any
    ) -> tuple[ActionChunk, MemoryInterventionState]:
        return self._policy.act(observation, state if state.applied else self._intervene(state), **more)

    def observe(self, observation: Observation, state: MemoryInterventionState) -> MemoryInterventionState:
        return self._policy.observe(observation, state)


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
