"""Interface of an embodiment of the tabletop, and the actions of scripted experts."""

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
"""Largest displacement of the tool in one control step, metres."""

QUARTER_TURN = np.pi / 2

GripperCommand = Literal["take", "let go", "tool"]
"""take: close the gripper or switch suction on. let go: open or release. tool: closed and empty, to press, push and
hook with."""


@dataclass(frozen=True)
class ExpertAction:
    """Action of a scripted expert for one control step, before it is converted to an embodiment's action space.

    Attributes:
        move: desired displacement of the tool, (3,) metres, world frame; it may exceed what one step can cover.
        grip: command for the gripper.
        subtask: text of the current subtask.
        turn: desired rotation of the tool about the vertical axis, radians.
    """

    move: Float64[np.ndarray, " 3"]
    grip: GripperCommand
    subtask: str
    turn: float = 0.0


def limit_speed(move: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """Returns the displacement `move` (3,), metres, limited to SPEED horizontally and to SPEED vertically.

    The horizontal direction is kept.
    """
    horizontal = move[:2] * min(1.0, SPEED / max(float(np.hypot(*move[:2])), 1e-9))
    return np.array([*horizontal, np.clip(move[2], -SPEED, SPEED)])


_SWEEP = (0.06, 0.18, 0.32, 0.46, 0.6, 0.74, 0.86, 0.95, 1.0, 1.0)
"""Fraction of the commanded motion that is the servo target in each tenth of a control step. The smooth start keeps
blocks from slipping out of the fingers, the constant end leaves time to reach the target."""


def follow(physics: Physics, start: Float64[np.ndarray, " J"], goal: Float64[np.ndarray, " J"]) -> Iterator[None]:
    """Runs one control step that moves the first J joints, yielding after each tenth of it.

    Starting from measured positions avoids wind-up while the tool is blocked.

    Args:
        physics: simulation, advanced by one control step.
        start: measured joint positions, (J,), metres or radians.
        goal: target joint positions, (J,).
    """
    for target in start + np.outer(_SWEEP, goal - start):
        physics.data.ctrl[: len(goal)] = target
        mujoco.mj_step(physics.model, physics.data, physics.substeps // len(_SWEEP))
        yield


class Arm(Protocol):
    """One embodiment. It is stateless: everything that changes is stored in the physics.

    The tool point is the point at which blocks are held.

    Attributes:
        embodiment: name.
        action_spec: dimensions, units and limits of actions.
        state_names: dimensions of the measured state.
        state_units: one for each dimension of the state.
        state_frame: frame of the state.
        tip: length of the tool below the tool point, metres.
        half_width: of the closed tool, metres.
        grasp_height: height of the tool point above the centre of a grasped block, metres.
        bodies: MuJoCo bodies that form the tool.
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
        """Returns MJCF elements for the world body, including a camera named wrist."""
        ...

    def extras_xml(self, graspable: tuple[str, ...]) -> str:
        """Returns MJCF sections outside of the world body (actuators, equalities) for the `graspable` bodies."""
        ...

    def randomize_pose(self, physics: Physics, rng: np.random.Generator, low: float, high: float) -> None:
        """Moves the tool to a random position over the table, at a height between `low` and `high`, metres."""
        ...

    def hold(self, physics: Physics, body: str) -> None:
        """Moves the block `body` into the gripper as if it had been grasped."""
        ...

    def drive(self, physics: Physics, action: Float32[np.ndarray, " A"]) -> None:
        """Runs the physics for one control step. `action` (A,) must be within its limits."""
        ...

    def state(self, physics: Physics) -> Float32[np.ndarray, " S"]:
        """Returns the measured state, (S,), in the units of `state_units`."""
        ...

    def tool(self, physics: Physics) -> Float64[np.ndarray, " 3"]:
        """Returns the position of the tool point, (3,) metres, world frame."""
        ...

    def misalignment(self, physics: Physics, yaw: float, period: float = QUARTER_TURN) -> float:
        """Returns the rotation that the tool needs to grasp an object, radians.

        Args:
            physics: simulation.
            yaw: orientation of the object, radians.
            period: rotational symmetry of the object, radians: a quarter turn for a block, half a turn for a bar.
        """
        ...

    def holds(self, physics: Physics, body: str) -> bool:
        """Returns whether the block `body` is held, as far as the robot can measure it."""
        ...

    def ready(self, physics: Physics) -> bool:
        """Returns whether the gripper is open and empty enough to move down over a block."""
        ...

    def action(self, physics: Physics, expert_action: ExpertAction) -> Float32[np.ndarray, " A"]:
        """Returns the action (A,) within limits that is closest to the expert's action."""
        ...
