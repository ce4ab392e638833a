from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
from fakes import TASK_VARIANT

from wla.rollout.dagger import (
    RANDOM_SEGMENT_STEPS,
    SEGMENT_STEPS,
    ExpertLabels,
    ExpertRelabelRecorder,
    MixturePolicy,
)
from wla.rollout.episode import run_episode
from wla.rollout.recording import Recording
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState

WORDS = ("reach", "grasp", "move", "release")


class Counter(BasePolicy[PolicyState]):
    """An expert whose world advances with every control step: each of its subtasks takes seven of them."""

    def __init__(self) -> None:
        self.env_step = 0

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed=seed)

    def act(self, observation: Observation, state: PolicyState) -> tuple[ActionChunk, PolicyState]:
        return ActionChunk(np.full((1, 2), 0.5, np.float32), (WORDS[self.env_step // 7 % 4],)), state


class Learner(BasePolicy[PolicyState]):
    """Chunks of four; notes when it acts and what it is told to have done."""

    robot_spec = tiny.robot_spec()
    checkpoint_sha256 = "abc"

    def __init__(self) -> None:
        self.acted: list[int] = []
        self.memories: list[tuple[int, tuple[str, ...], tuple[str, ...]]] = []

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed=seed)

    def with_memory(self, state: PolicyState, memory: tuple[str, ...], window: tuple[str, ...]) -> PolicyState:
        self.memories.append((state.env_step, memory, window))
        return replace(state, subtasks=window)

    def act(self, observation: Observation, state: PolicyState) -> tuple[ActionChunk, PolicyState]:
        self.acted.append(state.env_step)
        return ActionChunk(np.zeros((4, 2), np.float32), ("wrong",)), replace(state, env_step=state.env_step + 1)

    def observe(self, observation: Observation, state: PolicyState) -> PolicyState:
        return replace(state, env_step=state.env_step + 1)


class Ticking:
    """An environment that lasts some steps, each of which the expert's clock counts."""

    robot_spec = tiny.robot_spec()

    def __init__(self, expert: Counter, steps: int) -> None:
        self._expert, self._steps = expert, steps

    def reset(self, *, seed=None, options=None):
        return vars(tiny.observation()), {"instruction": "go"}

    def step(self, action):
        self._expert.env_step += 1
        return vars(tiny.observation()), 0.0, False, self._expert.env_step >= self._steps, {"success": False}

    def close(self) -> None: ...


def run(share: float, steps: int = 200, seed: int = 0, random_fraction: float = 0.0) -> tuple[Learner, Recording]:
    learner, expert = Learner(), Counter()
    mixture = MixturePolicy(learner, expert, share, random_fraction=random_fraction)
    recording = Recording(tiny.robot_spec())
    result = run_episode(
        ExpertLabels(Ticking(expert, steps), expert),
        mixture,
        seed,
        variant=TASK_VARIANT,
        policy_name="mixture",
        recorders=[ExpertRelabelRecorder(recording)],
    )
    assert (result.outcome, result.error, result.checkpoint_sha256) == ("failure", None, "abc")
    return learner, recording


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_every_step_records_what_the_expert_would_do(share):
    _, recording = run(share)
    assert [step.chunk.subtasks[0] for step in recording.steps] == [WORDS[t // 7 % 4] for t in range(200)]
    assert all((step.chunk.actions == 0.5).all() and step.offset == 0 for step in recording.steps)
    done = [bool((step.action == 0.5).all()) for step in recording.steps]
    assert np.mean(done) == pytest.approx(share, abs=0.35 if share == 0.5 else 0)
    assert recording.outcome == "failure"


def test_without_a_share_the_expert_never_acts_and_with_all_of_it_always():
    learner, _ = run(0.0)
    assert learner.acted == list(range(0, 200, 4))
    assert not learner.memories, "nobody tells the policy what it did itself"
    assert run(1.0)[0].acted == []


def test_after_the_experts_turn_the_memory_is_replaced():
    learner, _ = run(0.5)
    begun = [now for before, now in zip([-4, *learner.acted], learner.acted, strict=False) if now - before != 4]
    assert [env_step for env_step, _, _ in learner.memories] == [env_step for env_step in begun if env_step]
    for env_step, memory, window in learner.memories:
        assert window == (WORDS[env_step // 7 % 4],)
        assert memory == tuple(WORDS[i % 4] for i in range(env_step // 7))


def test_turns_last_a_stretch_and_follow_from_the_seed():
    acted = [run(0.5, seed=seed)[0].acted for seed in range(4)]
    assert acted[0] == run(0.5, seed=0)[0].acted
    assert len({tuple(times) for times in acted}) == 4
    whole = [times.count(start) for times in acted for start in range(0, 200, SEGMENT_STEPS)]
    assert 0.25 < np.mean(whole) < 0.75


def test_at_random_the_robot_goes_straight_for_a_while_within_its_limits():
    learner, recording = run(0.5, random_fraction=1.0)
    assert learner.acted == []
    actions = np.stack([step.action for step in recording.steps]).reshape(-1, RANDOM_SEGMENT_STEPS, 2)
    np.testing.assert_array_equal(actions, actions[:, :1].repeat(RANDOM_SEGMENT_STEPS, 1))
    assert len({chunk[0].tobytes() for chunk in actions}) > 10
    spec = tiny.robot_spec().action
    assert spec.kinds == ("delta", "absolute")
    low, high = spec.low[0], spec.high[0]
    assert low <= actions[..., 0].min() < 0 < actions[..., 0].max() <= high
    assert (actions[..., 1] == 0.5).all(), "the expert's"
    assert run(0.5, random_fraction=1.0)[1].steps[7].action.tolist() == recording.steps[7].action.tolist()


def test_chance_takes_its_share_of_the_turns():
    learner, _ = run(0.0, steps=2000, random_fraction=0.5)
    assert 0.3 < len(learner.acted) * 4 / 2000 < 0.7
