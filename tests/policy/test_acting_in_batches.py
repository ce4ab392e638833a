"""A row of a batch gets the text of acting alone, and its chunk up to rounding: 1e-5 of each action's range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny

from wla.envs.registry import make_env
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.types import Observation, PolicyState

TASKS = ("place", "stack", "push", "press_count", "cover_blocks", "rank_try")


def scenes() -> list[tuple[str, list[Observation]]]:
    """Instruction and two observations, some steps apart, of an episode of each task; prompts differ in length."""
    found = []
    for number, task in enumerate(TASKS):
        env = make_env("tabletop", task=task, setting="clean", embodiment="gantry")
        raw, info = env.reset(seed=12_000 + number)
        views = [Observation(**raw)]
        action = np.zeros(env.robot_spec.action.dim, np.float32)
        action[number % 3] = 0.03
        for _ in range(4):
            raw, *_ = env.step(action)
        found.append((info["instruction"], [*views, Observation(**raw)]))
        env.close()
    return found


def require_same_answers(policy: WLAPolicy, views: list[Observation], states: list[PolicyState]) -> list[PolicyState]:
    """The states after acting alone, once the batch has given the same."""
    spec = policy.robot_spec.action
    ranges = np.float32(spec.high) - np.float32(spec.low)
    alone = [policy.act(view, state) for view, state in zip(views, states, strict=True)]
    together = policy.act_batch(views, states)
    for (ours, after), (theirs, expected) in zip(together, alone, strict=True):
        assert ours.subtasks == theirs.subtasks
        assert after.memory == expected.memory
        np.testing.assert_allclose(ours.actions / ranges, theirs.actions / ranges, atol=1e-5, rtol=0)
    return [state for _, state in alone]


def mixed_up(policy: WLAPolicy, states: list[PolicyState]) -> list[PolicyState]:
    """Every other state with a window that the model does not repeat, so that its draft fails."""
    return [
        replace(state, subtasks=("release the green block", "return")) if index % 2 else state
        for index, state in enumerate(states)
    ]


@pytest.mark.parametrize("name", ["nano-tabletop", "nano-memory"])
def test_bundled_policies(name):
    policy = load_policy(name)
    recorded = scenes()
    states = [policy.reset(text, seed=number) for number, (text, _) in enumerate(recorded)]
    first, second = ([views[index] for _, views in recorded] for index in (0, 1))
    states = require_same_answers(policy, first, states)
    require_same_answers(policy, second, mixed_up(policy, states))
    require_same_answers(policy, second, states)


def test_a_tiny_policy_with_prompts_of_all_lengths():
    policy = WLAPolicy(tiny.checkpoint(), name="tiny", checkpoint_sha256="0")
    views = [tiny.observation(seed) for seed in range(6)]
    texts = [tiny.INSTRUCTIONS[seed % 2] + " again" * (seed // 2) for seed in range(6)]
    states = [policy.reset(text, seed=seed) for seed, text in enumerate(texts)]
    for _ in range(3):
        states = require_same_answers(policy, views, mixed_up(policy, states))


def test_only_rows_whose_draft_fails_are_decoded_further(monkeypatch):
    policy = load_policy("nano-tabletop")
    recorded = scenes()[:4]
    views = [view for _, (view, _) in recorded]
    states = [policy.act(view, policy.reset(text))[1] for (text, _), view in zip(recorded, views, strict=True)]
    backbone, rows = policy.model.backbone, []
    extend = backbone.extend
    monkeypatch.setattr(
        backbone, "extend", lambda context, tokens, mask: rows.append(len(tokens)) or extend(context, tokens, mask)
    )
    policy.act_batch(views, states)
    repeated = list(rows)
    rows.clear()
    policy.act_batch(views, [replace(states[0], subtasks=("release the green block",)), *states[1:]])
    assert repeated == []
    assert set(rows) == {1}
