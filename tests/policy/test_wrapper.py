"""A wrapper of a few lines changes a policy wherever it acts: alone, in a batch, through an evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import TASK_VARIANT, LineEnv, Walker, spec

from wla.evaluation.benchmark import evaluate
from wla.evaluation.summary import Identity
from wla.policy.wrapper import PolicyWrapper
from wla.rollout.runner import EpisodeRunner, ImaginingPolicy
from wla.types import Observation, PolicyState


class Smoothed(PolicyWrapper[PolicyState]):
    """Half of each action is the one before it."""

    def act(self, observation, state, **options):
        chunk, state = self.policy.act(observation, state, **options)
        before = np.concatenate([np.zeros_like(chunk.actions[:1]), chunk.actions[:-1]])
        return replace(chunk, actions=(chunk.actions + before) / 2), state


def seen(x: float = 0.0) -> Observation:
    image = np.zeros((16, 16, 3), np.uint8)
    return Observation({"front": image, "wrist": image}, np.float32([x]))


def build_smoothed(variant, shared):
    return LineEnv(), Smoothed(shared)


def test_what_a_wrapper_does_not_override_is_the_inner_policys():
    policy = Smoothed(Walker(sha="a" * 64))
    assert (policy.robot_spec, policy.checkpoint_sha256) == (spec(), "a" * 64)
    assert policy.reset("go", seed=4) == PolicyState("go", 4)
    chunk, _ = policy.act(seen(), policy.reset("go"), imagine=True)
    assert chunk.subgoal is not None
    assert chunk.actions[:, 0].tolist() == [0.125, 0.25, 0.25]


def test_a_wrapper_that_changes_acting_does_so_in_a_batch_too():
    policy = Smoothed(Walker())
    states = [policy.reset("go", seed=seed) for seed in (0, 1)]
    rows = policy.act_batch([seen(), seen()], states)
    for (chunk, _), state in zip(rows, states, strict=True):
        np.testing.assert_array_equal(chunk.actions, policy.act(seen(), state)[0].actions)


def test_one_that_does_not_keeps_the_batch_together():
    sizes = []

    class Batched(Walker):
        def act_batch(self, observations, states, **options):
            sizes.append(len(observations))
            return super().act_batch(observations, states, **options)

    rows = PolicyWrapper(Batched()).act_batch([seen(), seen()], [PolicyState("go")] * 2, imagine=True)
    assert sizes == [2]
    assert all(chunk.subgoal is not None for chunk, _ in rows)


def test_a_batch_gives_each_row_its_own_prefix():
    class Echo(Walker):
        def act(self, observation, state, *, prefix=None, **options):
            return super().act(observation, state)[0], replace(state, subtasks=(str(prefix.tolist()),))

    prefix = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    rows = Echo().act_batch([seen(), seen()], [PolicyState("go")] * 2, prefix=prefix)
    assert [state.subtasks[0] for _, state in rows] == [str(own.tolist()) for own in prefix]


@pytest.mark.parametrize(("policy", "steps"), [(Walker(), 4), (Smoothed(Walker()), 5)])
def test_an_evaluation_takes_it(tmp_path, policy, steps):
    runner = EpisodeRunner(lambda variant, shared: (LineEnv(), shared), "walker", policy)
    identity = Identity(policy="walker", checkpoint_sha256=None, replan_steps=None)
    assert evaluate([(TASK_VARIANT, seed) for seed in (0, 2)], runner, identity, tmp_path).total.successes == 2
    assert f'"steps": {steps},' in (tmp_path / "results.jsonl").read_text()


def test_an_imagining_policy_asks_at_every_call_and_passes_other_options_on():
    class Echo(Walker):
        def act(self, observation, state, **options):
            return super().act(observation, state)[0], replace(state, subtasks=tuple(sorted(options)))

    _, state = ImaginingPolicy(Echo()).act(seen(), PolicyState("go"), flow_steps=3)
    assert state.subtasks == ("flow_steps", "imagine")
