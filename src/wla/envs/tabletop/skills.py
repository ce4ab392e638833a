"""Skills of the scripted experts: reach, grasp, carry, release and retreat.

Every skill is a stateless function of the current scene. Its action therefore depends only on what a policy can
observe, and after a perturbation it continues from the new scene. Smooth ramps instead of thresholds keep it from
alternating between two actions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.arm import ExpertAction, GripperCommand
from wla.envs.tabletop.objects import TableObject
from wla.envs.tabletop.world import World

TRAVEL = 0.085
"""Height of a carried object, metres, above blocks and bowl."""
_CLEAR = 0.065
"""Height from which the tool may move sideways freely, for the default TRAVEL, metres."""
_AWAY = 0.025
"""Distance between the tool and its grasp pose from which an object counts as released, metres."""

Vector = Float64[np.ndarray, "3"]


def ramp(value: float, low: float, high: float) -> float:
    """Returns 0 below `low`, 1 above `high`, and a linear interpolation between them."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def above(point: Vector, height: float) -> Vector:
    """Returns the point (3,) that is `height` metres above `point`."""
    return point + np.array([0.0, 0.0, height])


def come_down(world: World, target: Vector, *, slack: float = 0.0, travel: float = TRAVEL) -> Vector:
    """Approach from above: high while the target is far to the side, then down through a funnel over it.

    Args:
        world: scene.
        target: position of the tool, (3,) metres.
        slack: other error (an angle, a gripper that is not open yet), in metres, added to the horizontal distance.
        travel: height of a carried object, metres.

    Returns:
        Displacement of the tool, (3,) metres.
    """
    tool, lift = world.tool, world.arm.grasp_height
    sideways = target[:2] - tool[:2]
    distance = float(np.hypot(*sideways)) + slack
    height = target[2] + (max(travel + lift, target[2]) - target[2]) * ramp(distance, 0.008, 0.030)
    # A tool that is low among other objects rises first.
    clear = _CLEAR + (travel - TRAVEL)
    free = max(ramp(tool[2] - lift, clear - 0.025, clear), 1.0 - ramp(distance, 0.020, 0.035))
    return np.array([*(sideways * free), height - tool[2]])


def pick(world: World, obj: TableObject, *, travel: float = TRAVEL, turn: float | None = None) -> ExpertAction:
    """Reaches for an object and grasps it.

    Args:
        world: scene.
        obj: object to grasp.
        travel: height of the tool on the way, metres.
        turn: rotation that the tool still needs, radians; None for that of a block.
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
    """Carries the held object to a goal and releases it there.

    Args:
        world: scene.
        obj: held object.
        goal: target of its centre, (3,) metres.
        goal_name: name of the goal in the subtask.
        travel: height of the object on the way, metres.
        turn: rotation that it still needs, radians.
    """
    tool = world.tool
    target = above(goal, world.arm.grasp_height)
    if np.hypot(*(target - tool)[:2]) < 0.012 and tool[2] < target[2] + 0.008 and abs(turn) < 0.06:
        return ExpertAction(np.zeros(3), "let go", f"release the {obj.name}")
    move = come_down(world, target, slack=0.06 * abs(turn), travel=travel)
    return ExpertAction(move, "take", f"move to the {goal_name}", turn)


def leave(world: World, subtask: str, grip: GripperCommand = "let go", height: float = TRAVEL) -> ExpertAction:
    """Moves the tool straight up.

    Args:
        world: scene.
        subtask: text of the subtask.
        grip: command for the gripper.
        height: target height of the tool, metres.
    """
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
    """Picks up an object and places it at a goal.

    Args:
        world: scene.
        obj: object to move.
        goal: target of its centre, (3,) metres.
        goal_name: name of the goal in the subtask.
        done: whether the object is at the goal and is not held any more; the tool then moves up.
        travel: height of the object on the way, metres.
        turn: see `pick`.
    """
    if done:
        return leave(world, f"release the {obj.name}", height=goal[2] + 0.065)
    if world.arm.holds(world, obj.body):
        return put(world, obj, goal, goal_name, travel=travel)
    return pick(world, obj, travel=travel, turn=turn)


def is_released(world: World, obj: TableObject) -> bool:
    """Returns whether the tool neither holds the object nor is at its grasp pose, so that one frame shows it."""
    away = above(world.position(obj.body), world.arm.grasp_height) - world.tool
    return not world.arm.holds(world, obj.body) and float(np.linalg.norm(away)) > _AWAY
