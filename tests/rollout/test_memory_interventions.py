from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny

from wla.rollout.memory_interventions import MemoryIntervention
from wla.types import ActionChunk, BasePolicy, MemoryItem, Observation, PolicyState

ITEMS = tuple(MemoryItem(text, 0, 1) for text in ("a", "b", "c"))


class PromptLog(BasePolicy[PolicyState]):
    """Records memory and subtasks of each call and finishes one item at each call."""

    robot_spec = tiny.robot_spec()

    def __init__(self) -> None:
        self.prompts: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed=seed)

    def act(self, observation: Observation, state: PolicyState) -> tuple[ActionChunk, PolicyState]:
        self.prompts.append((tuple(item.text for item in state.memory), state.subtasks))
        memory = ITEMS[: len(self.prompts)]
        return ActionChunk(np.zeros((1, 2), np.float32)), replace(
            state, memory=memory, subtasks=("d", "e"), env_step=state.env_step + 4
        )

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        return state


def prompts(fault: str, seed: int = 0) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    policy = PromptLog()
    wrapped = MemoryIntervention(policy, fault)
    state = wrapped.reset("go", seed=seed)
    for _ in range(4):
        _, state = wrapped.act(tiny.observation(), state)
        state = wrapped.observe(tiny.observation(), state)
    return policy.prompts


def test_an_emptied_memory_is_empty_at_every_call():
    assert prompts("clear") == [((), ())] * 4


@pytest.mark.parametrize("seed", range(4))
def test_one_item_is_deleted_once(seed):
    first, second, third, fourth = (memory for memory, _ in prompts("delete", seed))
    assert (first, second) == ((), ("a",))
    assert third in (("a",), ("b",))
    assert fourth == ("a", "b", "c")


def test_what_is_running_is_once_called_finished():
    assert prompts("insert") == [
        ((), ()),
        (("a",), ("d", "e")),
        (("a", "b", "d"), ("e",)),
        (("a", "b", "c"), ("d", "e")),
    ]
