"""Pushing blocks along the table into zones."""

from __future__ import annotations

from typing import Literal

import numpy as np

from wla.envs.tabletop.arm import ExpertAction
from wla.envs.tabletop.objects import BLOCK_HALF, Area, Block
from wla.envs.tabletop.skills import come_down, leave, ramp
from wla.envs.tabletop.tasks.common import TILT, random_colours
from wla.envs.tabletop.world import World

Axis = Literal[0, 1]
"""Direction of a push: along x (0) or along y (1)."""
_LANES = (-0.072, 0.0, 0.072)
"""Initial positions of blocks across the direction of the push, metres, so that a pushed block hits no other one."""


def in_lanes(rng: np.random.Generator, axis: Axis, start: tuple[float, float]) -> tuple[Block, ...]:
    """Samples one to three blocks, each in its own lane.

    Args:
        rng: random generator.
        axis: direction of the lanes.
        start: lower and upper limit of the initial positions along the lanes, metres.
    """
    count = int(rng.integers(1, 4))
    lanes = rng.permutation(_LANES)[:count]
    colours = random_colours(rng, count)
    blocks = []
    for colour, lane in zip(colours, lanes, strict=True):
        along, across = float(rng.uniform(start[0], start[1])), float(lane + rng.uniform(-0.005, 0.005))
        x, y = (along, across) if axis == 0 else (across, along)
        blocks.append(Block(colour, x, y, float(rng.uniform(-TILT, TILT))))
    return tuple(blocks)


def is_in(world: World, block: Block, area: Area, axis: Axis) -> bool:
    """Returns whether the block is on the table and its centre in an area.

    Args:
        world: scene.
        block: block.
        area: target.
        axis: direction of the push, along which a margin of 5 mm to the edge is required.
    """
    offset = np.abs(world.position(block.body)[:2] - area[:2])
    half_sizes = np.array(area[2:])
    half_sizes[axis] -= 0.005
    return bool((offset < half_sizes).all() and world.is_on_table(block.body))


def push_into(world: World, block: Block, area: Area, axis: Axis, *, max_speed: float, subtask: str) -> ExpertAction:
    """Moves down behind the block, then pushes it through its centre until it is in the middle of the area.

    Args:
        world: scene.
        block: block to push.
        area: target.
        axis: direction of the push.
        max_speed: metres per control step; a block that is pushed too fast tumbles.
        subtask: text of the subtask while pushing.
    """
    across = 1 - axis
    centre, tool = world.position(block.body), world.tool
    goal = area[axis]
    turn = world.arm.misalignment(world, 0.0)
    sign = float(np.sign(goal - centre[axis]))
    height = world.arm.tip + 0.008
    behind = (centre[axis] - tool[axis]) * sign
    contact = BLOCK_HALF + world.arm.half_width
    low = 1.0 - ramp(tool[2], height + 0.006, height + 0.015)
    # Once the tool is up, any position well inside of the area is sufficient.
    if abs(goal - centre[axis]) < (0.018 if low > 0.0 else 0.035):
        return leave(world, subtask, "tool")
    aligned = 1.0 - ramp(abs(centre[across] - tool[across]), 0.008, 0.016)
    if behind > contact - 0.006 and low * aligned > 0.0 and behind < contact + 0.06:
        step = min(max_speed, abs(goal - centre[axis]) + max(0.0, behind - contact))
        move = centre - tool
        move[axis], move[2] = sign * step * low * aligned, height - tool[2]
        return ExpertAction(move, "tool", subtask, turn)
    start = np.array([centre[0], centre[1], height])
    start[axis] -= sign * (contact + 0.022)
    return ExpertAction(come_down(world, start, slack=0.04 * abs(turn)), "tool", f"reach the {block.name}", turn)
