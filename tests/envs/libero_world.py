"""A stand-in for LIBERO's simulator: a hand that points down over a table with one object, in the simulator's names."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wla.envs.libero.protocols import Protocol

MODULE = "wla.envs.libero.simulation"


class Simulation:
    """The interface of `wla.envs.libero.simulation.Simulation`. A closed gripper reaches the goal."""

    starts: list[tuple[int, int | None]]
    """Seeds and initial states of all resets, newest last."""
    images_wanted = True

    def __init__(self, task: str, protocol: Protocol, image_size: int) -> None:
        self._size, self._protocol = image_size, protocol

    def reset(self, seed: int, initial_state: int | None) -> dict[str, Any]:
        self.starts.append((seed, initial_state))
        rng = np.random.default_rng([seed, 0 if initial_state is None else initial_state + 1])
        self.thing = rng.uniform(-0.2, 0.2, 2)
        self.hand, self.opening = np.array([-0.2, *rng.uniform(-0.02, 0.02, 1), 0.3]), 0.04
        self.turn = Rotation.from_euler("xyz", [np.pi + rng.uniform(-0.1, 0.1), 0.05, 0.1])
        for _ in range(self._protocol.settle_steps):
            self._execute(np.array(self._protocol.settle_action))
        return self._seen()

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], bool]:
        self._execute(action)
        return self._seen(), self.opening < 0.005

    def close(self) -> None:
        pass

    def _execute(self, action: np.ndarray) -> None:
        self.hand = self.hand + 0.015 * action[:3]
        self.turn = Rotation.from_rotvec(0.1 * action[3:6]) * self.turn
        self.opening = float(np.clip(self.opening - 0.01 * np.sign(action[6]), 0.0, 0.04))

    def _seen(self) -> dict[str, Any]:
        rows, columns = np.mgrid[: self._size, : self._size]
        image = np.stack([rows, columns, 0 * rows], 2) * (200.0 / self._size)
        for (x, y), colour in ((self.thing, 255), (self.hand[:2], 0)):
            row, column = (int((0.5 + value) * self._size) for value in (x, y))
            image[max(row - 3, 0) : row + 3, max(column - 3, 0) : column + 3] = colour
        drawn = image.astype(np.uint8)[::-1, ::-1]  # as OpenGL has it
        return {
            "agentview_image": drawn,
            "robot0_eye_in_hand_image": drawn // 2,
            "robot0_eef_pos": self.hand,
            "robot0_eef_quat": self.turn.as_quat(canonical=False),
            "robot0_gripper_qpos": np.array([self.opening, -self.opening]),
            "robot0_joint_pos": np.arange(7.0),
        }


def install(patch: pytest.MonkeyPatch, kind: type[Simulation] = Simulation) -> type[Simulation]:
    """Puts a kind of simulator in the place of LIBERO's."""
    module = ModuleType(MODULE)
    kind.starts = []
    module.Simulation = kind  # type: ignore[attr-defined]
    patch.setitem(sys.modules, MODULE, module)
    return kind
