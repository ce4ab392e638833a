"""Random perturbations of executed actions, so that recorded demonstrations also contain recoveries."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32

from wla.specs import RobotSpec
from wla.types import Env

_STREAM = 0x6B1C  # separates the perturbations from all other random draws with the same reset seed


class PerturbedActions:
    """Environment that adds random perturbations to executed actions (noise injection as in DART, Laskey et al. 2017).

    "delta" dimensions are perturbed, and absolute ones where the robot has no gripper, whose command must not change.
    Perturbations are determined by the reset seed. A recorder that takes
    actions from the policy still records the unperturbed ones.

    Args:
        env: environment with a `robot_spec`.
        probability: per control step.
        scale: largest perturbation as a multiple of each delta dimension's limit (3 cm and 0.25 rad for the gantry), of
            a twelfth of an absolute one's range; the distribution is uniform.
    """

    def __init__(self, env: Env, probability: float = 0.08, scale: float = 1.0) -> None:
        """Raises ValueError for a probability outside of 0 .. 1 or a negative scale."""
        if not 0.0 <= probability <= 1.0 or scale < 0.0:
            raise ValueError(
                f"perturbations need 0 <= probability <= 1 and scale >= 0, got {probability} and {scale}; correct them"
            )
        self._env = env
        self.robot_spec: RobotSpec = env.robot_spec
        spec = self.robot_spec.action
        is_delta, high = np.array([kind == "delta" for kind in spec.kinds]), np.asarray(spec.high)
        absolute = (high - np.asarray(spec.low)) / 12 if spec.gripper == "none" else 0.0
        self._max_perturbation = (scale * np.where(is_delta, high, absolute)).astype(np.float32)
        self._probability = probability
        self._rng = np.random.default_rng(_STREAM)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        if seed is not None:
            self._rng = np.random.default_rng([seed, _STREAM])
        return self._env.reset(seed=seed, options=options)

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]:
        return self._env.step(self._perturbed(action))

    def close(self) -> None:
        self._env.close()

    def _perturbed(self, action: Float32[np.ndarray, " A"]) -> Float32[np.ndarray, " A"]:
        if self._rng.random() >= self._probability:
            return action
        noise = self._rng.uniform(-1.0, 1.0, self._max_perturbation.shape).astype(np.float32)
        return action + noise * self._max_perturbation
