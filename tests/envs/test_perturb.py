from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wla.envs.perturb import PerturbedActions
from wla.envs.registry import make_env


class Listener:
    """Keeps what reaches it, instead of simulating."""

    def __init__(self) -> None:
        self.robot_spec = make_env("tabletop", task="place").robot_spec
        self.executed: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        self.executed = []
        return {}, {}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        self.executed.append(action)
        return {}, 0.0, False, False, {}

    def close(self) -> None: ...


def executed(seed: int, action: np.ndarray, steps: int = 400, **options: float) -> np.ndarray:
    listener = Listener()
    env = PerturbedActions(listener, **options)
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(action)
    return np.array(listener.executed)


COMMAND = np.array([0.01, 0.0, -0.02, 0.1, 0.5], dtype=np.float32)


def test_rare_steps_move_otherwise_and_the_gripper_never_does() -> None:
    actions = executed(3, COMMAND)
    kicks = actions - COMMAND
    kicked = np.abs(kicks).max(axis=1) > 0
    assert 0.04 < kicked.mean() < 0.13
    assert (kicks[:, 4] == 0).all()
    assert np.abs(kicks[:, :3]).max() <= 0.03 + 1e-6
    assert np.abs(kicks[:, :3]).max() > 0.02
    assert actions.dtype == np.float32


def test_kicks_follow_from_the_seed() -> None:
    assert np.array_equal(executed(3, COMMAND), executed(3, COMMAND))
    assert not np.array_equal(executed(3, COMMAND), executed(4, COMMAND))


def test_no_probability_or_no_scale_means_no_kicks() -> None:
    assert (executed(0, COMMAND, probability=0.0) == COMMAND).all()
    assert (executed(0, COMMAND, scale=0.0) == COMMAND).all()


@pytest.mark.parametrize("options", [{"probability": 1.5}, {"scale": -1.0}])
def test_senseless_kicks_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="kicks need"):
        PerturbedActions(make_env("tabletop", task="place"), **options)
