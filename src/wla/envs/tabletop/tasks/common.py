"""What several tasks need to set their scenes."""

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
"""Anywhere on the table where there is room."""
CLUTTER_COLOURS: tuple[Rgb, ...] = (
    (0.9, 0.5, 0.7),
    (0.45, 0.25, 0.6),
    (0.1, 0.45, 0.45),
    (0.15, 0.15, 0.15),
    (0.9, 0.9, 0.85),
)
TILT = 0.35
"""Blocks start with their sides turned by up to this angle (radians)."""


def random_colours(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """`count` distinct colours of blocks."""
    return tuple(str(colour) for colour in rng.permutation(list(BLOCKS))[:count])


def random_blocks(
    rng: np.random.Generator, count: int, others: Sequence[PlacementRegion] = (), region: PlacementRegion | None = None
) -> tuple[tuple[Block, ...], list[Point]]:
    """`count` blocks of distinct random colours, and places for the `others`, none of them overlapping.

    spot: where the blocks may be (by default, anywhere).
    """
    wanted = [*others, *[region or PlacementRegion(Block.radius)] * count]
    points = placement(rng, wanted)
    colours = random_colours(rng, count)
    places = points[len(others) :]
    blocks = tuple(
        Block(colour, x, y, float(rng.uniform(-TILT, TILT))) for colour, (x, y) in zip(colours, places, strict=True)
    )
    return blocks, points[: len(others)]


def blocks_and_dishes(rng: np.random.Generator) -> tuple[tuple[Block, ...], Bowl, Plate]:
    """Two or three blocks, a bowl and a plate, none of them overlapping."""
    dishes = [PlacementRegion(dish.radius, x=0.14, y=0.09) for dish in (Bowl, Plate)]
    blocks, (bowl, plate) = random_blocks(rng, int(rng.integers(2, 4)), dishes)
    return blocks, Bowl(*bowl), Plate(*plate)


def random_clutter(
    rng: np.random.Generator, objects: Sequence[TableObject], region: PlacementRegion
) -> tuple[Distractor, ...]:
    """Two or three things to be ignored, in the area of `region` where the parts leave room."""
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
    """Whether the block rests in the bowl, held or not."""
    offset = world.position(block.body) - world.position(Bowl.body)
    return bool(np.hypot(offset[0], offset[1]) < 0.042 and offset[2] < 0.042)


def bowl_goal(world: World) -> Float64[np.ndarray, " 3"]:
    """Where a block's centre should be when it is let go: a short drop above the floor, clear of the walls."""
    return above(world.position(Bowl.body), BOWL_FLOOR + BLOCK_HALF + 0.016)


def on_plate(world: World, block: Block) -> bool:
    """Whether the block stands on the plate, held or not."""
    return rests_on(world, block, above(world.position(Plate.body), PLATE_TOP), 0.045)


def plate_goal(world: World) -> Float64[np.ndarray, " 3"]:
    """Where a block's centre should be when it is let go over the plate."""
    return above(world.position(Plate.body), PLATE_TOP + BLOCK_HALF + 0.004)


def rests_on(world: World, block: Block, top: Float64[np.ndarray, " 3"], radius: float) -> bool:
    """Whether the block stands on the point `top` (3,), its centre within `radius` (metres) of it, held or not."""
    offset = world.position(block.body) - above(top, BLOCK_HALF)
    return bool(np.hypot(offset[0], offset[1]) < radius and abs(offset[2]) < 0.006)
