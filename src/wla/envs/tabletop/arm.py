"""What the simulator asks of an embodiment, and what an expert asks an embodiment to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import mujoco
import numpy as np
from jaxtyping import Float32, Float64

from wla.envs.tabletop.physics import Physics
from wla.specs import ActionSpec

SPEED = 0.03
"""Longest way of the tool in one control step, metres."""

QUARTER_TURN = np.pi / 2

GripperCommand = Literal["take", "let go", "tool"]
"""take: hold what is there. let go: open or release. tool: the gripper as a stick, to press, push and hook with."""


@dataclass(frozen=True)
class ExpertAction:
    """One expert step. move: (3,) metres, world frame; turn: radians; subtask: what this step is for, in words."""

    move: Float64[np.ndarray, " 3"]
    grip: GripperCommand
    subtask: str
    turn: float = 0.0


def limit_speed(move: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """`move` (3,) no faster than SPEED along the table, in its direction, and no faster than SPEED up or down."""
    along = move[:2] * min(1.0, SPEED / max(float(np.hypot(*move[:2])), 1e-9))
    return np.array([*along, np.clip(move[2], -SPEED, SPEED)])


_SWEEP = (0.06, 0.18, 0.32, 0.46, 0.6, 0.74, 0.86, 0.95, 1.0, 1.0)
"""The share of the commanded motion that the servos aim at in each tenth of a control step: gently, so that nothing
slips out of the fingers, and with time at the end to arrive."""


def follow(physics: Physics, start: Float64[np.ndarray, " J"], goal: Float64[np.ndarray, " J"]) -> Iterator[None]:
    """Run one control step that takes the first joints from `start` to `goal`, stopping ten times to let things happen.

    Starting from the measured pose means that nothing winds up when the tool is blocked.
    """
    for target in start + np.outer(_SWEEP, goal - start):
        physics.data.ctrl[: len(goal)] = target
        mujoco.mj_step(physics.model, physics.data, physics.substeps // len(_SWEEP))
        yield


class Arm(Protocol):
    """One embodiment. Stateless: everything that changes lives in the physics.

    The tool point is where blocks are held. `tip` is how far (metres) the tool reaches below it, `half_width` the half width
    of the closed tool, `grasp_height` the height of the tool point above the centre of a block that it grasps.
    """

    embodiment: ClassVar[str]
    action_spec: ClassVar[ActionSpec]
    state_names: ClassVar[tuple[str, ...]]
    state_units: ClassVar[tuple[str, ...]]
    state_frame: ClassVar[Literal["world", "tool", "joint"]]
    tip: ClassVar[float]
    half_width: ClassVar[float]
    grasp_height: ClassVar[float]
    bodies: ClassVar[tuple[str, ...]]

    def xml(self) -> str:
        """MJCF elements for the world body, with a camera named wrist."""
        ...

    def extras_xml(self, graspable: tuple[str, ...]) -> str:
        """MJCF sections beside the world body (actuators, equalities); `graspable` are the bodies that can be held."""
        ...

    def randomize_pose(self, physics: Physics, rng: np.random.Generator, low: float, high: float) -> None:
        """Put the tool at a random place over the table, between the heights `low` and `high` (metres)."""
        ...

    def hold(self, physics: Physics, body: str) -> None:
        """Put the block `body` into the gripper, as if it had been grasped."""
        ...

    def drive(self, physics: Physics, action: Float32[np.ndarray, " A"]) -> None:
        """Run the physics for one control step under `action`, which is within its limits."""
        ...

    def state(self, physics: Physics) -> Float32[np.ndarray, " S"]:
        """The measured state, in the units of `state_units`."""
        ...

    def tool(self, physics: Physics) -> Float64[np.ndarray, " 3"]:
        """The tool point, metres, world frame."""
        ...

    def misalignment(self, physics: Physics, yaw: float, period: float = QUARTER_TURN) -> float:
        """How far (radians) the tool has to turn to grasp a thing of this yaw.

        period: the turn (radians) after which the thing is the same to the tool, a quarter for a block, half for a bar.
        """
        ...

    def holds(self, physics: Physics, body: str) -> bool:
        """Whether the block `body` is held, as far as can be measured."""
        ...

    def ready(self, physics: Physics) -> bool:
        """Whether the gripper can go down over a block."""
        ...

    def action(self, physics: Physics, expert_action: ExpertAction) -> Float32[np.ndarray, " A"]:
        """The action, within limits, that comes nearest to what an expert advises."""
        ...
