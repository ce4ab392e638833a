"""A scripted expert for ALOHA's cube: the right arm picks it up and holds it out, the left one takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import mujoco
import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation

from wla.envs.gym.env import GymEnv
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState

Side = Literal["left", "right"]
Vector = Float64[np.ndarray, " 3"]
ARMS: dict[Side, slice] = {"left": slice(0, 6), "right": slice(7, 13)}
"""Joints of each arm in a state and in an action; its gripper follows. In the simulator a gripper has two joints."""
IN_SIMULATOR: dict[Side, slice] = {"left": slice(0, 6), "right": slice(8, 14)}
TIP = np.array([0.14, 0.0, 0.0])
"""Where a gripper holds things, in the frame of its link: just before the ends of its fingers, which close along y."""
DOWN = Rotation.from_euler("ZYX", [180, 60, 0], degrees=True)
"""The right gripper, as it picks up and holds out: towards the middle, pointing down steeply."""
ACROSS = Rotation.from_euler("ZYX", [0, 0, 90], degrees=True)
"""The left gripper: level, its fingers above and below the cube where those of the right one are beside it."""
MEETING, WAITING = np.array([0.0, 0.5, 0.25]), np.array([-0.12, 0.5, 0.25])
"""Where the right arm holds the cube out, and where the left one waits for it."""
ABOVE = np.array([0.0, 0.0, 0.1])
SPEED = 0.03
"""Radians per step by which the joint that has furthest to go is commanded; the others keep pace with it."""
SETTLING = 10
"""Steps that arms get to arrive where they were commanded to, and grippers to close: the wrist lags by a fifth of a
second."""
DROPPED = 0.05
"""Metres between the right gripper and the cube from which on it no longer holds it."""
LOST = 0.5
"""Radians between command and joint above which something else has moved the arm."""


@dataclass(frozen=True)
class Phase:
    """What both arms do next: where each goes (None: it stays), and which grippers are closed."""

    subtask: str
    left: tuple[Vector, Rotation] | None = None
    right: tuple[Vector, Rotation] | None = None
    closed: tuple[Side, ...] = ()


def phases(cube: Vector) -> tuple[Phase, ...]:
    """The whole episode, with the cube there."""
    waiting = (WAITING, ACROSS)
    return (
        Phase("go to the cube", left=waiting, right=(cube + ABOVE, DOWN)),
        Phase("go to the cube", right=(cube, DOWN)),
        Phase("grasp the cube", closed=("right",)),
        Phase("hold the cube out", right=(MEETING, DOWN), closed=("right",)),
        Phase("take the cube", left=(cube, ACROSS), closed=("right",)),
        Phase("take the cube", closed=("left", "right")),
        Phase("take the cube", left=waiting, closed=("left",)),
    )


HELD = range(3, 6)
"""The phases in which the right gripper holds the cube."""


@dataclass(frozen=True)
class CommandState(PolicyState):
    """An episode of the expert: its phase, the steps since all was commanded that belongs to it, the last command."""

    phase: int = 0
    waited: int = 0
    command: Float32[np.ndarray, " A"] | None = None


class AlohaExpert(BasePolicy[CommandState]):
    """Policy that solves `transfer_cube` from the cube's position, which observations do not state.

    Chunks have one action. It starts again where the cube was dropped.
    """

    def __init__(self, env: GymEnv) -> None:
        self._physics = env.unwrapped._env.physics
        self._model = self._physics.model.ptr
        self._scratch = mujoco.MjData(self._model)
        self._home = self._physics.data.ptr.qpos.copy()
        self.robot_spec = env.robot_spec

    def reset(self, instruction: str, *, seed: int = 0) -> CommandState:
        return CommandState(instruction, seed)

    def act(self, observation: Observation, state: CommandState, **options: Any) -> tuple[ActionChunk, CommandState]:
        cube, number = self._physics.named.data.xpos["box"].copy(), state.phase
        plan = phases(cube)
        if state.waited > SETTLING:
            number = min(number + 1, len(plan) - 1)
        if number in HELD and np.linalg.norm(self._tip("right", self._physics.data.ptr) - cube) > DROPPED:
            number = 0
        phase, waited = plan[number], state.waited if number == state.phase else 0
        before = observation.state if state.command is None else state.command
        before = np.where(np.abs(before - observation.state) > LOST, observation.state, before)
        goal = before.copy()
        for side, arm in ARMS.items():
            to = phase.left if side == "left" else phase.right
            if to is not None:
                goal[arm] = self._inverse(side, *to)
            goal[arm.stop] = side not in phase.closed
        change = goal - before
        change[[arm.stop for arm in ARMS.values()]] = 0.0
        command = goal - change * (1.0 - SPEED / max(SPEED, np.abs(change).max()))
        arrived = np.abs(command - goal).max() < SPEED
        following = replace(
            state, phase=number, waited=waited + int(arrived), command=command, num_calls=state.num_calls + 1
        )
        return ActionChunk(command[None], subtasks=(phase.subtask,)), following

    def _inverse(self, side: Side, position: Vector, rotation: Rotation) -> Float64[np.ndarray, " J"]:
        """Joints of an arm with its gripper there, by damped least squares from the pose in which episodes start."""
        data, model, columns = self._scratch, self._model, IN_SIMULATOR[side]
        data.qpos[:] = self._home
        body = model.body(f"vx300s_{side}/gripper_link").id
        moves, turns = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        for _ in range(40):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            tip = self._tip(side, data)
            turned = rotation * Rotation.from_matrix(data.xmat[body].reshape(3, 3)).inv()
            error = np.concatenate([position - tip, 0.3 * turned.as_rotvec()])
            if np.abs(error).max() < 1e-8:
                break
            mujoco.mj_jac(model, data, moves, turns, tip, body)
            jacobian = np.concatenate([moves, 0.3 * turns])[:, columns]
            step = np.linalg.solve(jacobian.T @ jacobian + 1e-4 * np.eye(len(error)), jacobian.T @ error)
            data.qpos[columns] += np.clip(step, -0.3, 0.3)
        return data.qpos[columns].copy()

    def _tip(self, side: Side, data: Any) -> Vector:
        body = self._model.body(f"vx300s_{side}/gripper_link").id
        return data.xpos[body] + data.xmat[body].reshape(3, 3) @ TIP
