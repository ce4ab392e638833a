"""Motions that the experts share.

Every skill is a function of where things are now, without memory: what it advises follows from what a policy can see,
and after any disturbance it simply goes on from there. Thresholds overlap (ramps instead of switches), so that it does
not flicker between two advices.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.arm import Advice, Grip
from wla.envs.tabletop.parts import Block
from wla.envs.tabletop.world import World

TRAVEL = 0.085
"""Height (metres) of what is held on the way: it clears the blocks and the bowl."""
_CLEAR = 0.065
"""Height from which the tool may move sideways freely."""

Vector = Float64[np.ndarray, "3"]


def ramp(value: float, low: float, high: float) -> float:
    """0 below `low`, 1 above `high`, linear between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def above(point: Vector, height: float) -> Vector:
    """The point (3,) that lies `height` metres over `point`."""
    return point + np.array([0.0, 0.0, height])


def come_down(world: World, target: Vector, *, slack: float = 0.0) -> Vector:
    """The move (3,) to `target` from above: high while far to the side, down a funnel when over it.

    slack: metres by which anything else is still off (an angle, an open gripper), counted as distance to the side.
    """
    tool, lift = world.tool, world.arm.grasp_height
    aside = target[:2] - tool[:2]
    distance = float(np.hypot(*aside)) + slack
    height = target[2] + (max(TRAVEL + lift, target[2]) - target[2]) * ramp(distance, 0.008, 0.030)
    # Low among other things, rise first.
    free = max(ramp(tool[2] - lift, _CLEAR - 0.025, _CLEAR), 1.0 - ramp(distance, 0.020, 0.035))
    return np.array([*(aside * free), height - tool[2]])


def pick(world: World, block: Block) -> Advice:
    """Reach for a block and close the gripper around it."""
    arm, tool = world.arm, world.tool
    target = above(world.position(block.body), arm.grasp_height)
    turn = arm.misalignment(world, world.yaw(block.body))
    if np.abs(target - tool).max() < 0.008 and abs(turn) < 0.12:
        return Advice(target - tool, "take", f"grasp the {block.name}")
    slack = 0.04 * abs(turn)
    if not arm.ready(world):
        slack += 0.03
    return Advice(come_down(world, target, slack=slack), "let go", f"reach the {block.name}", turn)


def put(world: World, block: Block, goal: Vector, goal_name: str) -> Advice:
    """Carry the held block until its centre is at `goal` (3,), and let it go there."""
    tool = world.tool
    target = above(goal, world.arm.grasp_height)
    if np.hypot(*(target - tool)[:2]) < 0.012 and tool[2] < target[2] + 0.008:
        return Advice(np.zeros(3), "let go", f"release the {block.name}")
    return Advice(come_down(world, target), "take", f"move to the {goal_name}")


def leave(world: World, subtask: str, grip: Grip = "let go", height: float = TRAVEL) -> Advice:
    """Straight up, away from what has been done, to `height` (metres)."""
    return Advice(np.array([0.0, 0.0, height - world.tool[2]]), grip, subtask)


def pick_and_put(world: World, block: Block, goal: Vector, goal_name: str, *, done: bool) -> Advice:
    """Bring a block to a place; `done` says that it lies there, free of the tool or about to be."""
    if done:
        return leave(world, f"release the {block.name}", height=goal[2] + 0.065)
    if world.arm.holds(world, block.body):
        return put(world, block, goal, goal_name)
    return pick(world, block)
