from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wla.envs.perturb import PerturbedActions
from wla.envs.registry import make_env


class ActionRecorder:
    """Records executed actions instead of simulating them."""

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
    recorder = ActionRecorder()
    env = PerturbedActions(recorder, **options)
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(action)
    return np.array(recorder.executed)


COMMAND = np.array([0.01, 0.0, -0.02, 0.1, 0.5], dtype=np.float32)


def test_some_steps_are_perturbed_and_the_gripper_never_is() -> None:
    actions = executed(3, COMMAND)
    perturbations = actions - COMMAND
    perturbed = np.abs(perturbations).max(axis=1) > 0
    assert 0.04 < perturbed.mean() < 0.13
    assert (perturbations[:, 4] == 0).all()
    assert np.abs(perturbations[:, :3]).max() <= 0.03 + 1e-6
    assert np.abs(perturbations[:, :3]).max() > 0.02
    assert actions.dtype == np.float32


def test_perturbations_are_determined_by_the_seed() -> None:
    assert np.array_equal(executed(3, COMMAND), executed(3, COMMAND))
    assert not np.array_equal(executed(3, COMMAND), executed(4, COMMAND))


def test_zero_probability_or_zero_scale_perturbs_nothing() -> None:
    assert (executed(0, COMMAND, probability=0.0) == COMMAND).all()
    assert (executed(0, COMMAND, scale=0.0) == COMMAND).all()


@pytest.mark.parametrize("options", [{"probability": 1.5}, {"scale": -1.0}])
def test_invalid_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="perturbations need"):
        PerturbedActions(make_env("tabletop", task="place"), **options)
