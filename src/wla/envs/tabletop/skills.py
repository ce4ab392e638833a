"""Motions that the experts share.

Every skill is a function of where things are now, without memory: what it advises follows from what a policy can see,
and after any disturbance it simply goes on from there. Thresholds overlap (ramps instead of switches), so that it does
not flicker between two advices.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.arm import ExpertAction, GripperCommand
from wla.envs.tabletop.objects import TableObject
from wla.envs.tabletop.world import World

TRAVEL = 0.085
"""Height (metres) of what is held on the way: it clears the blocks and the bowl."""
_CLEAR = 0.065
"""Height from which the tool may move sideways freely, when TRAVEL is high enough."""
_AWAY = 0.025

Vector = Float64[np.ndarray, "3"]


def ramp(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, linear between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def above(point: Vector, height: float) -> Vector:
    """The point (3,) that lies `height` metres over `point`."""
    return point + np.array([0.0, 0.0, height])


def come_down(world: World, target: Vector, *, slack: float = 0.0, travel: float = TRAVEL) -> Vector:
    """The move (3,) to `target` from above: high while far to the side, down a funnel when over it.

    slack: metres by which anything else is still off (an angle, an open gripper), counted as distance to the side.
    travel: height (metres) of what is held on the way.
    """
    tool, lift = world.tool, world.arm.grasp_height
    aside = target[:2] - tool[:2]
    distance = float(np.hypot(*aside)) + slack
    height = target[2] + (max(travel + lift, target[2]) - target[2]) * ramp(distance, 0.008, 0.030)
    # Low among other things, rise first.
    clear = _CLEAR + (travel - TRAVEL)
    free = max(ramp(tool[2] - lift, clear - 0.025, clear), 1.0 - ramp(distance, 0.020, 0.035))
    return np.array([*(aside * free), height - tool[2]])


def pick(world: World, obj: TableObject, *, travel: float = TRAVEL, turn: float | None = None) -> ExpertAction:
    """Reach for a thing and close the gripper around it.

    turn: radians that the tool still has to turn; by default, as far as a block asks for.
    """
    arm, tool = world.arm, world.tool
    target = above(world.position(obj.body), arm.grasp_height)
    if turn is None:
        turn = arm.misalignment(world, world.yaw(obj.body))
    if np.abs(target - tool).max() < 0.008 and abs(turn) < 0.12:
        return ExpertAction(target - tool, "take", f"grasp the {obj.name}")
    slack = 0.04 * abs(turn)
    if not arm.ready(world):
        slack += 0.03
    return ExpertAction(come_down(world, target, slack=slack, travel=travel), "let go", f"reach the {obj.name}", turn)


def put(
    world: World, obj: TableObject, goal: Vector, goal_name: str, *, travel: float = TRAVEL, turn: float = 0.0
) -> ExpertAction:
    """Carry the held thing until its centre is at `goal` (3,), turn it by `turn` (radians), and let it go there."""
    tool = world.tool
    target = above(goal, world.arm.grasp_height)
    if np.hypot(*(target - tool)[:2]) < 0.012 and tool[2] < target[2] + 0.008 and abs(turn) < 0.06:
        return ExpertAction(np.zeros(3), "let go", f"release the {obj.name}")
    move = come_down(world, target, slack=0.06 * abs(turn), travel=travel)
    return ExpertAction(move, "take", f"move to the {goal_name}", turn)


def leave(world: World, subtask: str, grip: GripperCommand = "let go", height: float = TRAVEL) -> ExpertAction:
    """Straight up, away from what has been done, to `height` (metres)."""
    return ExpertAction(np.array([0.0, 0.0, height - world.tool[2]]), grip, subtask)


def pick_and_put(
    world: World,
    obj: TableObject,
    goal: Vector,
    goal_name: str,
    *,
    done: bool,
    travel: float = TRAVEL,
    turn: float | None = None,
) -> ExpertAction:
    """Bring a thing to a place; `done` says that it lies there, free of the tool or about to be. turn: see `pick`."""
    if done:
        return leave(world, f"release the {obj.name}", height=goal[2] + 0.065)
    if world.arm.holds(world, obj.body):
        return put(world, obj, goal, goal_name, travel=travel)
    return pick(world, obj, travel=travel, turn=turn)


def is_released(world: World, obj: TableObject) -> bool:
    """Whether the tool neither holds the thing nor stands where it would grasp it, so that one frame shows it."""
    away = above(world.position(obj.body), world.arm.grasp_height) - world.tool
    return not world.arm.holds(world, obj.body) and float(np.linalg.norm(away)) > _AWAY
