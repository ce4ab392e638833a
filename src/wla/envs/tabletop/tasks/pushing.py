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
"""The direction of a push: along x or along y."""
_LANES = (-0.072, 0.0, 0.072)
"""Blocks start in lanes (metres beside the middle), so that pushing one leaves the others alone."""


def in_lanes(rng: np.random.Generator, axis: Axis, start: tuple[float, float]) -> tuple[Block, ...]:
    """One to three blocks, each in a lane along `axis`, from `start[0]` to `start[1]` (metres) on it."""
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
    """Whether the block lies in the area, clear of the edge over which it was pushed along `axis`."""
    offset = np.abs(world.position(block.body)[:2] - area[:2])
    room = np.array(area[2:])
    room[axis] -= 0.005
    return bool((offset < room).all() and world.is_on_table(block.body))


def push_into(world: World, block: Block, area: Area, axis: Axis, *, max_speed: float, subtask: str) -> ExpertAction:
    """Come down behind the block, then push through its middle along `axis` until it is in the middle of the area.

    pace: metres per step, at most; a block that is pushed too fast tumbles on. words: of the push.
    """
    across = 1 - axis
    centre, tool = world.position(block.body), world.tool
    goal = area[axis]
    turn = world.arm.misalignment(world, 0.0)
    way = float(np.sign(goal - centre[axis]))
    height = world.arm.tip + 0.008
    behind = (centre[axis] - tool[axis]) * way
    contact = BLOCK_HALF + world.arm.half_width
    low = 1.0 - ramp(tool[2], height + 0.006, height + 0.015)
    # Once the tool is up, anywhere well inside the zone will do.
    if abs(goal - centre[axis]) < (0.018 if low > 0.0 else 0.035):
        return leave(world, subtask, "tool")
    aligned = 1.0 - ramp(abs(centre[across] - tool[across]), 0.008, 0.016)
    if behind > contact - 0.006 and low * aligned > 0.0 and behind < contact + 0.06:
        step = min(max_speed, abs(goal - centre[axis]) + max(0.0, behind - contact))
        move = centre - tool
        move[axis], move[2] = way * step * low * aligned, height - tool[2]
        return ExpertAction(move, "tool", subtask, turn)
    start = np.array([centre[0], centre[1], height])
    start[axis] -= way * (contact + 0.022)
    return ExpertAction(come_down(world, start, slack=0.04 * abs(turn)), "tool", f"reach the {block.name}", turn)
