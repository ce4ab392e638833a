"""The scripted expert of ALOHA's cube; needs the extra `aloha`."""

from __future__ import annotations

import numpy as np
import pytest

from wla.envs.registry import load_family, make_env
from wla.types import Env, Observation

pytest.importorskip("gym_aloha")

from wla.envs.aloha_expert import AlohaExpert, CommandState

pytestmark = pytest.mark.slow
FAMILY = load_family("aloha")


@pytest.fixture(scope="module")
def env() -> Env:
    return make_env("aloha", task="transfer_cube")


def run(env: Env, seed: int, *, drop_at: int | None = None) -> tuple[bool, list[CommandState]]:
    """Success, and the expert's states; from step `drop_at` on, the right gripper is open for a while."""
    expert = FAMILY.make_expert(env)
    assert isinstance(expert, AlohaExpert)
    raw, info = env.reset(seed=seed)
    states = [expert.reset(info["instruction"])]
    for step in range(400):
        chunk, state = expert.act(Observation(raw["images"], raw["state"]), states[-1])
        states.append(state)
        action = chunk.actions[0].copy()
        if drop_at is not None and drop_at <= step < drop_at + 10:
            action[13] = 1.0
        raw, _, terminated, _, info = env.step(action)
        if terminated:
            break
    return info["success"], states


@pytest.mark.parametrize("seed", [10_000, 10_001])
def test_hands_the_cube_over(env: Env, seed: int) -> None:
    success, states = run(env, seed)
    assert success
    assert len(states) < 200
    phases = [state.phase for state in states]
    assert phases == sorted(phases)


def test_starts_again_where_the_cube_was_dropped(env: Env) -> None:
    success, states = run(env, 10_000, drop_at=115)
    assert success
    phases = np.array([state.phase for state in states])
    assert (np.diff(phases) < 0).sum() == 1


def test_arms_move_no_faster_than_they_are_commanded_to(env: Env) -> None:
    _, states = run(env, 10_002)
    commands = np.stack([state.command for state in states[1:] if state.command is not None])
    joints = np.delete(commands, [6, 13], axis=1)
    assert np.abs(np.diff(joints, axis=0)).max() <= 0.03 + 1e-6


def test_the_other_task_has_no_expert() -> None:
    other = make_env("aloha", task="insertion")
    assert FAMILY.make_expert(other) is None
    other.close()
