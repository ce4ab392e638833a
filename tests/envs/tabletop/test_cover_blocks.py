from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from episodes import env_without_images, expert_subtask_spans

from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.objects_lids import LID_KNOB
from wla.envs.tabletop.skills import above
from wla.envs.tabletop.tasks.cover_blocks import ORDER, SIDE_TEXTS, CoverBlocks

LEFT, MIDDLE, RIGHT = 0, 1, 2


class Stage:
    """An episode in which lids are moved by hand while the arm keeps out of the way."""

    def __init__(self, seed: int = 0) -> None:
        self.env: TabletopEnv = env_without_images("cover_blocks")
        self.env.reset(seed=seed)
        assert isinstance(self.env.task, CoverBlocks)
        self.task = self.env.task
        self.over = self.success = False
        self.env.world.arm.randomize_pose(self.env.world, np.random.default_rng(0), 0.2, 0.2)

    def lay(self, number: int, place: tuple[float, float, float]) -> None:
        self.env.world.put(self.task.lids[number].body, place)
        self.env.world.forward()
        for _ in range(3):
            if not self.over:
                _, _, self.over, _, info = self.env.step(np.array([0, 0, 0, 0, -1], dtype=np.float32))
                self.success = info["success"]

    def cover(self, number: int) -> None:
        x, y, _ = self.env.world.position(self.task.blocks[number].body)
        self.lay(number, (float(x), float(y), LID_KNOB))

    def uncover(self, number: int) -> None:
        lid = self.task.lids[number]
        self.lay(number, (lid.x, lid.y, LID_KNOB))

    def place_of(self, colour: str) -> int:
        return [block.colour for block in self.task.blocks].index(colour)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_only_from_left_to_right_may_the_blocks_be_covered(order: tuple[int, ...]) -> None:
    stage = Stage()
    for number in order:
        stage.cover(number)
    assert stage.over == (order != (LEFT, MIDDLE, RIGHT))
    assert not stage.success


@pytest.mark.parametrize("order", list(itertools.permutations(ORDER)))
def test_only_in_the_order_of_the_colours_may_they_be_uncovered(order: tuple[str, ...]) -> None:
    stage = Stage(seed=4)
    for number in range(3):
        stage.cover(number)
    for colour in order:
        stage.uncover(stage.place_of(colour))
    if order == ORDER:
        assert stage.task.num_completed == 6
        stage.uncover(0)
    assert stage.over
    assert stage.success == (order == ORDER)


def test_nothing_may_be_uncovered_before_all_are_covered() -> None:
    stage = Stage()
    stage.cover(LEFT)
    stage.cover(MIDDLE)
    assert not stage.over
    stage.uncover(LEFT)
    assert stage.over
    assert not stage.success


def test_a_lid_that_rests_crooked_on_a_block_does_not_cover_it() -> None:
    stage = Stage()
    x, y, _ = stage.env.world.position(stage.task.blocks[LEFT].body)
    stage.lay(LEFT, (float(x), float(y) + 0.040, LID_KNOB + 0.02))
    assert stage.env.world.tilt(stage.task.lids[LEFT].body) > 0.1
    assert not stage.task.covered
    assert stage.task.num_completed == 0


def test_a_covered_block_stays_covered_until_the_lid_is_clearly_lifted() -> None:
    stage = Stage()
    stage.cover(LEFT)
    world, lid = stage.env.world, stage.task.lids[LEFT].body
    at = world.position(lid)
    for height, covered in ((0.02, {stage.task.blocks[LEFT].colour}), (0.04, set())):
        world.put(lid, above(at, height))
        world.forward()
        stage.task.update(world)
        assert stage.task.covered == covered


def test_a_lid_that_is_still_held_covers_nothing() -> None:
    stage = Stage()
    world = stage.env.world
    x, y, _ = world.position(stage.task.blocks[LEFT].body)
    world.put(stage.task.lids[LEFT].body, (x, y, LID_KNOB))
    world.data.qpos[:6] = (x, y, LID_KNOB, 0.0, 0.02, 0.02)
    world.forward()
    stage.task.update(world)
    assert not stage.task.covered
    world.data.qpos[2:6] = (LID_KNOB + 0.03, 0.0, 0.04, 0.04)
    world.forward()
    stage.task.update(world)
    assert stage.task.covered


@pytest.mark.parametrize("embodiment", ["gantry", "scara"])
def test_the_expert_says_which_block_it_covers_and_where(embodiment: str) -> None:
    env = env_without_images("cover_blocks", embodiment=embodiment)
    spans = expert_subtask_spans(env, 2)
    assert isinstance(env.task, CoverBlocks)
    where = dict(zip((block.colour for block in env.task.blocks), SIDE_TEXTS.values(), strict=True))
    covered = [f"cover the {colour} block {place}" for colour, place in where.items()]
    uncovered = [f"uncover the {colour} block {where[colour]}" for colour in ORDER]
    assert [text for text, _ in spans] == covered + uncovered
    assert min(length for _, length in spans) >= 3


def test_rows_come_in_every_order_and_leave_nothing_behind() -> None:
    env = env_without_images("cover_blocks")
    rows = set()
    for seed in range(60):
        env.reset(seed=seed)
        assert isinstance(env.task, CoverBlocks)
        assert not env.task.covered
        assert env.task.num_completed == 0
        rows.add(tuple(block.colour for block in env.task.blocks))
        assert not env.world.is_penetrating(env.world.arm.bodies)
    assert len(rows) == math.factorial(3)
