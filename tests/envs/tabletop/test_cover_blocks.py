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
    """Episode in which lids are moved without the arm, which stays above them."""

    def __init__(self, seed: int = 0) -> None:
        self.env: TabletopEnv = env_without_images("cover_blocks")
        self.env.reset(seed=seed)
        assert isinstance(self.env.task, CoverBlocks)
        self.task = self.env.task
        self.terminated = self.success = False
        self.env.world.arm.randomize_pose(self.env.world, np.random.default_rng(0), 0.2, 0.2)

    def lay(self, number: int, position: tuple[float, float, float]) -> None:
        self.env.world.put(self.task.lids[number].body, position)
        self.env.world.forward()
        for _ in range(3):
            if not self.terminated:
                _, _, self.terminated, _, info = self.env.step(np.array([0, 0, 0, 0, -1], dtype=np.float32))
                self.success = info["success"]

    def cover(self, number: int) -> None:
        x, y, _ = self.env.world.position(self.task.blocks[number].body)
        self.lay(number, (float(x), float(y), LID_KNOB))

    def uncover(self, number: int) -> None:
        lid = self.task.lids[number]
        self.lay(number, (lid.x, lid.y, LID_KNOB))

    def index_of(self, colour: str) -> int:
        return [block.colour for block in self.task.blocks].index(colour)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_blocks_must_be_covered_from_left_to_right(order: tuple[int, ...]) -> None:
    stage = Stage()
    for number in order:
        stage.cover(number)
    assert stage.terminated == (order != (LEFT, MIDDLE, RIGHT))
    assert not stage.success


@pytest.mark.parametrize("order", list(itertools.permutations(ORDER)))
def test_blocks_must_be_uncovered_in_the_order_of_the_colours(order: tuple[str, ...]) -> None:
    stage = Stage(seed=4)
    for number in range(3):
        stage.cover(number)
    for colour in order:
        stage.uncover(stage.index_of(colour))
    if order == ORDER:
        assert stage.task.num_completed == 6
        stage.uncover(0)
    assert stage.terminated
    assert stage.success == (order == ORDER)


def test_uncovering_before_all_are_covered_fails() -> None:
    stage = Stage()
    stage.cover(LEFT)
    stage.cover(MIDDLE)
    assert not stage.terminated
    stage.uncover(LEFT)
    assert stage.terminated
    assert not stage.success


def test_a_tilted_lid_on_a_block_does_not_cover_it() -> None:
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
    position = world.position(lid)
    for height, covered in ((0.02, {stage.task.blocks[LEFT].colour}), (0.04, set())):
        world.put(lid, above(position, height))
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
def test_subtasks_of_the_expert_name_block_and_side(embodiment: str) -> None:
    env = env_without_images("cover_blocks", embodiment=embodiment)
    spans = expert_subtask_spans(env, 2)
    assert isinstance(env.task, CoverBlocks)
    sides = dict(zip((block.colour for block in env.task.blocks), SIDE_TEXTS.values(), strict=True))
    covered = [f"cover the {colour} block {side}" for colour, side in sides.items()]
    uncovered = [f"uncover the {colour} block {sides[colour]}" for colour in ORDER]
    assert [text for text, _ in spans] == covered + uncovered
    assert min(length for _, length in spans) >= 3


def test_all_orders_occur_and_every_episode_starts_uncovered() -> None:
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
