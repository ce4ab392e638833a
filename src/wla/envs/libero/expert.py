"""A scripted expert for tasks that place an object on or in another: reach, grasp, carry, release."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from wla.envs.libero.env import LiberoEnv
from wla.envs.libero.robot import policy_action
from wla.envs.libero.scene import Scene, Solid, Vector
from wla.envs.libero.tasks import SUITES
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState

STEP_M, STEP_RAD = 0.05, 0.5
"""Motion that an action of 1 asks for."""
GAIN = 2.0
WIDEST = 0.074
"""Width in metres of what fits between the fingers; wider things are taken by their rim."""
HOVER, NEAR, EXACT, SWIPE = 0.08, 0.02, 0.012, 0.15
"""Height above a grasp while moving to it, and how near one must be, in metres and radians."""
SLACK = 0.025
"""How near to its place, beside and above, a thing is let go."""
RIM_SIDES, OUTER_FINGER, ENOUGH = 16, 0.047, 0.03
"""Sides from which a rim may be taken, metres from it to the outer finger, and as much room as that finger needs."""
PALM = (0.09, 0.075)
"""Half its width, and its height above the fingertips, metres."""
OPEN, CLOSED = -1.0, 1.0


@dataclass(frozen=True)
class Grasp:
    """Where the fingertips take an object, and the horizontal direction from finger to finger (None: any)."""

    position: Vector
    across: Vector | None


@dataclass(frozen=True)
class Aim:
    """Where the hand should be, how it should be turned (as in `Grasp`), and the gripper's command."""

    position: Vector
    across: Vector | None
    gripper: float


class LiberoExpert(BasePolicy[PolicyState]):
    """Policy that solves the current episode from the poses of objects, which observations do not state.

    Chunks have one action and no subtask. The action depends only on the current scene, so that the expert also goes on
    from where another policy has led.
    """

    reads_images = False
    tasks = frozenset(SUITES["libero_spatial"] + SUITES["libero_object"])

    def __init__(self, env: LiberoEnv) -> None:
        self._env = env
        self.robot_spec = env.robot_spec

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed=seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        scene = Scene(self._env.simulation.robosuite)
        action = policy_action(motion(scene, aim(scene)), self._env.protocol)
        return ActionChunk(action[None]), replace(state, num_calls=state.num_calls + 1)


def aim(scene: Scene) -> Aim:
    """What the hand should do next."""
    hand, _ = scene.hand
    name, place = scene.goals[0]
    thing = scene.solid(name)
    target, ground = scene.target(place)
    there = np.linalg.norm((target - thing.position)[:2]) < SLACK and thing.bottom < ground + SLACK
    if scene.solved or there:
        return Aim(hand, None, OPEN)
    return _carry(scene, name, thing, place) if scene.holds(name) else _reach(scene, name, thing)


def _reach(scene: Scene, name: str, thing: Solid) -> Aim:
    hand, _ = scene.hand
    grasp = choose_grasp(scene, name, thing)
    beside = np.linalg.norm((grasp.position - hand)[:2])
    turned = abs(_yaw_error(scene, grasp.across))
    closing = scene.opening < 0.06
    if beside > (2 if closing else 1) * NEAR or turned > SWIPE:
        above = grasp.position + np.array([0.0, 0.0, HOVER])
        if beside > 2 * NEAR:  # something may stand in the way
            above[2] = max(above[2], _highest(scene, name))
            if hand[2] < above[2] - HOVER / 2:
                above[:2] = hand[:2]
        return Aim(above, grasp.across, OPEN)
    arrived = hand[2] < grasp.position[2] + (3 if closing else 1) * EXACT and beside < NEAR
    return Aim(grasp.position, grasp.across, CLOSED if arrived else OPEN)


def _carry(scene: Scene, name: str, thing: Solid, place: str) -> Aim:
    hand, _ = scene.hand
    target, ground = scene.target(place)
    offset = hand - thing.position
    below = hand[2] - thing.bottom
    beside = np.linalg.norm((target + offset - hand)[:2])
    if beside > NEAR:
        high = min(_highest(scene, name) + below, hand[2] + 0.1)
        ready = 1.0 if hand[2] > high - 0.04 else 0.0
        way = np.append((target + offset - hand)[:2] * ready, high - hand[2])
        return Aim(hand + way, None, CLOSED)
    return Aim(np.array([*(target + offset)[:2], ground + below]), None, CLOSED)


def _highest(scene: Scene, name: str) -> float:
    """Height in metres at which a thing passes over all others."""
    return max(scene.solid(other).top for other in scene.things() if other != name) + 0.02


def choose_grasp(scene: Scene, name: str, thing: Solid) -> Grasp:
    """Across the narrower side of what fits between the fingers, else the rim on the side with more room."""
    flat = [axis for axis in range(3) if axis != thing.up]
    narrow, wide = sorted(flat, key=lambda axis: thing.half[axis])
    height = max(thing.centre[2], thing.top - 0.04)
    if 2 * thing.half[narrow] < WIDEST:
        square = thing.half[wide] - thing.half[narrow] < 0.005
        return Grasp(np.array([*thing.centre[:2], height]), None if square else _level(thing.axes[:, narrow]))
    angles = np.linspace(0.0, 2.0 * np.pi, RIM_SIDES, endpoint=False)
    sides = [np.array([np.cos(angle), np.sin(angle), 0.0]) for angle in angles]
    rims = [thing.centre + (thing.half[narrow] - 0.006) * side for side in sides]
    grasps = [Grasp(np.array([*rim[:2], thing.top - 0.022]), side) for rim, side in zip(rims, sides, strict=True)]
    return max(grasps, key=lambda grasp: _ease(scene, name, grasp))


def _ease(scene: Scene, name: str, grasp: Grasp) -> float:
    """How well a rim can be taken, in metres: the room of outer finger and palm, less for turning and moving there.

    The last two also keep the choice while the hand is on its way.
    """
    assert grasp.across is not None
    across, above = grasp.across, np.array([0.0, 0.0, PALM[1]])
    taken = (OUTER_FINGER * across, above + PALM[0] * across, above - PALM[0] * across)
    room = min(ENOUGH, *(scene.room(grasp.position + place, name) for place in taken))
    beside = np.linalg.norm((grasp.position - scene.hand[0])[:2])
    return room - 0.01 * abs(_yaw_error(scene, grasp.across)) - 0.1 * float(beside)


def motion(scene: Scene, wanted: Aim) -> Float[np.ndarray, " 7"]:
    """The simulator's action that leads to an aim, with the hand pointing down."""
    hand, axes = scene.hand
    shift = GAIN * (wanted.position - hand) / STEP_M
    tilt = np.cross(axes[:, 2], [0.0, 0.0, -1.0])
    tilt[2] = _yaw_error(scene, wanted.across)
    return np.concatenate([shift, GAIN * tilt / STEP_RAD, [wanted.gripper]])


def _yaw_error(scene: Scene, across: Vector | None) -> float:
    """Radians to turn about the vertical until the fingers lie along a direction, from either side."""
    if across is None:
        return 0.0
    fingers = _level(scene.hand[1][:, 1])
    angle = np.arctan2(fingers[0] * across[1] - fingers[1] * across[0], fingers @ across)
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)


def _level(direction: Vector) -> Vector:
    """The horizontal part of a direction, as a unit vector."""
    flat = np.array([direction[0], direction[1], 0.0])
    return flat / np.linalg.norm(flat)
