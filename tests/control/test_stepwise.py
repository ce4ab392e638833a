"""One action per step: every environment has its own queue and memory, and memory advances with executed actions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_robot import robot

from wla.control import StepwisePolicy
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState


class Counter(BasePolicy[PolicyState]):
    """Chunks of four actions: (environment, control step); the first environment replans after two steps, the
    others after three. `calls`: environments and prefixes of each call."""

    def __init__(self) -> None:
        self.robot_spec = robot()
        self.calls: list[tuple[list[int], object]] = []

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act_batch(self, observations, states, *, prefix=None, delay=None, flow_steps=None, **options):
        assert not options
        self.calls.append(([int(each.state[0]) for each in observations], (prefix, delay)))
        return [self._act(*each) for each in zip(observations, states, strict=True)]

    def _act(self, observation: Observation, state: PolicyState):
        row = int(observation.state[0])
        steps = state.env_step + np.arange(4)
        chunk = ActionChunk(
            np.stack([np.full(4, row), steps], axis=1).astype(np.float32),
            (f"{state.instruction} at {state.env_step}",),
            replan_steps=2 if row == 0 else 3,
        )
        after = replace(state, num_calls=state.num_calls + 1, env_step=state.env_step + 1, subtasks=chunk.subtasks)
        return chunk, after

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        return replace(state, env_step=state.env_step + 1)


def observations(count: int) -> list[Observation]:
    image = np.zeros((4, 4, 3), np.uint8)
    return [Observation({"front": image}, np.array([row, 0, 0], np.float32)) for row in range(count)]


def test_each_environment_has_a_queue_of_its_own_and_sees_every_step() -> None:
    policy = Counter()
    stepwise = StepwisePolicy(policy)
    for step in range(7):
        actions = stepwise.select_actions(observations(2), ["go", "go"])
        assert actions.tolist() == [[0, step], [1, step]]
    assert [rows for rows, _ in policy.calls] == [[0, 1], [0], [1], [0], [0, 1]]


@pytest.mark.parametrize("steps", [1, 4])
def test_the_number_of_executed_actions_can_be_given(steps: int) -> None:
    policy = Counter()
    stepwise = StepwisePolicy(policy, replan_steps=steps)
    for _ in range(8):
        stepwise.select_actions(observations(2), ["go", "go"])
    assert len(policy.calls) == 8 / steps


def test_another_instruction_begins_another_episode_there_alone() -> None:
    seeds = iter(range(10))
    stepwise = StepwisePolicy(Counter(), new_seed=lambda: next(seeds))
    stepwise.select_actions(observations(2), ["go", "go"])
    actions = stepwise.select_actions(observations(2), ["go", "stop"])
    assert actions.tolist() == [[0, 1], [1, 0]]
    assert next(seeds) == 3


def test_another_number_of_environments_needs_a_reset() -> None:
    stepwise = StepwisePolicy(Counter())
    stepwise.select_actions(observations(2), ["go", "go"])
    with pytest.raises(ValueError, match="3 environments, and 2 episodes are in progress; reset"):
        stepwise.select_actions(observations(3), ["go"] * 3)
    stepwise.reset()
    assert stepwise.select_actions(observations(3), ["go"] * 3)[:, 1].tolist() == [0, 0, 0]


def test_dropped_actions_do_not_take_the_state_along() -> None:
    policy = Counter()
    stepwise = StepwisePolicy(policy)
    stepwise.select_actions(observations(1), ["go"])
    stepwise.drop_actions()
    assert stepwise.select_actions(observations(1), ["go"]).tolist() == [[0, 1]]
    assert len(policy.calls) == 2


@pytest.mark.parametrize("executed", [0, 1, 2, 3])
def test_the_prefix_shows_how_many_actions_of_a_whole_chunk_were_executed(executed: int) -> None:
    policy = Counter()
    stepwise = StepwisePolicy(policy)
    first = stepwise.predict_chunks(observations(2), ["go", "go"])
    second = stepwise.predict_chunks(observations(2), ["go", "go"], prefix=first[:, executed:], delay=1)
    assert second[:, 0, 1].tolist() == [executed, executed]
    prefix, delay = policy.calls[-1][1]
    assert delay == 1
    np.testing.assert_array_equal(prefix, first[:, executed:])


def test_without_a_prefix_the_advised_number_counts_as_executed() -> None:
    stepwise = StepwisePolicy(Counter())
    stepwise.predict_chunks(observations(2), ["go", "go"])
    assert stepwise.predict_chunks(observations(2), ["go", "go"])[:, 0, 1].tolist() == [2, 3]


def test_asking_for_subtasks_changes_nothing() -> None:
    stepwise = StepwisePolicy(Counter())
    stepwise.select_actions(observations(1), ["go"])
    assert stepwise.subtasks(observations(1), ["go"]) == [("go at 1",)] * 1
    assert stepwise.select_actions(observations(1), ["go"]).tolist() == [[0, 1]]
