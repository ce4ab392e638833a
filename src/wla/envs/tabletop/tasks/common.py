"""Random scenes, goals and success conditions shared by several tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from wla.envs.tabletop.appearance import BLOCKS, Rgb
from wla.envs.tabletop.objects import (
    BLOCK_HALF,
    BOWL_FLOOR,
    DISTRACTOR_SHAPES,
    PLATE_TOP,
    Block,
    Bowl,
    Distractor,
    Plate,
    TableObject,
)
from wla.envs.tabletop.placement import PlacementRegion, Point, placement
from wla.envs.tabletop.skills import above
from wla.envs.tabletop.world import World

CLUTTER = PlacementRegion(radius=0.045, x=0.2, y=0.15)
"""Whole table, wherever other objects leave room."""
CLUTTER_COLOURS: tuple[Rgb, ...] = (
    (0.9, 0.5, 0.7),
    (0.45, 0.25, 0.6),
    (0.1, 0.45, 0.45),
    (0.15, 0.15, 0.15),
    (0.9, 0.9, 0.85),
)
TILT = 0.35
"""Largest initial yaw of a block, radians."""


def random_colours(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """`count` distinct colours of blocks."""
    return tuple(str(colour) for colour in rng.permutation(list(BLOCKS))[:count])


def random_blocks(
    rng: np.random.Generator, count: int, others: Sequence[PlacementRegion] = (), region: PlacementRegion | None = None
) -> tuple[tuple[Block, ...], list[Point]]:
    """Samples blocks of distinct colours, and positions of other objects, without overlaps.

    Args:
        rng: random generator.
        count: number of blocks.
        others: regions of the other objects.
        region: region of the blocks; None for the whole area of initial positions.

    Returns:
        Blocks, and one position for each of `others`, metres.
    """
    regions = [*others, *[region or PlacementRegion(Block.radius)] * count]
    points = placement(rng, regions)
    colours = random_colours(rng, count)
    block_points = points[len(others) :]
    blocks = tuple(
        Block(colour, x, y, float(rng.uniform(-TILT, TILT)))
        for colour, (x, y) in zip(colours, block_points, strict=True)
    )
    return blocks, points[: len(others)]


def blocks_and_dishes(rng: np.random.Generator) -> tuple[tuple[Block, ...], Bowl, Plate]:
    """Samples two or three blocks, a bowl and a plate, without overlaps."""
    dishes = [PlacementRegion(dish.radius, x=0.14, y=0.09) for dish in (Bowl, Plate)]
    blocks, (bowl, plate) = random_blocks(rng, int(rng.integers(2, 4)), dishes)
    return blocks, Bowl(*bowl), Plate(*plate)


def random_clutter(
    rng: np.random.Generator, objects: Sequence[TableObject], region: PlacementRegion
) -> tuple[Distractor, ...]:
    """Samples up to three distractors.

    Args:
        rng: random generator.
        objects: objects of the task, which distractors do not overlap.
        region: region of the distractors.
    """
    found: list[Distractor] = []
    for shape in rng.permutation(list(DISTRACTOR_SHAPES))[: int(rng.integers(2, 4))]:
        shade = CLUTTER_COLOURS[int(rng.integers(len(CLUTTER_COLOURS)))]
        taken = [(part.x, part.y, part.radius) for part in (*objects, *found)]
        for _ in range(30):
            x, y = rng.uniform(-1.0, 1.0, 2) * (region.x, region.y) + region.centre
            if all(np.hypot(x - a, y - b) > region.radius + radius for a, b, radius in taken):
                found.append(Distractor(str(shape), shade, float(x), float(y), float(rng.uniform(-1.5, 1.5))))
                break
    return tuple(found)


def in_bowl(world: World, block: Block) -> bool:
    """Returns whether the block is in the bowl, held or not."""
    offset = world.position(block.body) - world.position(Bowl.body)
    return bool(np.hypot(offset[0], offset[1]) < 0.042 and offset[2] < 0.042)


def bowl_goal(world: World) -> Float64[np.ndarray, " 3"]:
    """Returns the position at which a block is released into the bowl, (3,) metres: short drop, clear of the walls."""
    return above(world.position(Bowl.body), BOWL_FLOOR + BLOCK_HALF + 0.016)


def on_plate(world: World, block: Block) -> bool:
    """Returns whether the block stands on the plate, held or not."""
    return rests_on(world, block, above(world.position(Plate.body), PLATE_TOP), 0.045)


def plate_goal(world: World) -> Float64[np.ndarray, " 3"]:
    """Returns the position at which a block is released over the plate, (3,) metres."""
    return above(world.position(Plate.body), PLATE_TOP + BLOCK_HALF + 0.004)


def rests_on(world: World, block: Block, top: Float64[np.ndarray, " 3"], radius: float) -> bool:
    """Returns whether the block stands on a point, held or not.

    Args:
        world: scene.
        block: block.
        top: the point, (3,) metres.
        radius: largest horizontal distance between the block's centre and the point, metres.
    """
    offset = world.position(block.body) - above(top, BLOCK_HALF)
    return bool(np.hypot(offset[0], offset[1]) < radius and abs(offset[2]) < 0.006)
