from __future__ import annotations

import numpy as np
import pytest
from episodes import env_without_images, expert_subtask_spans

from wla.envs.registry import make_env
from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.objects_lids import CELL_HALF_WIDTH, Dial, heading_of
from wla.envs.tabletop.skills import above
from wla.envs.tabletop.tasks.battery_try import ORIENTATIONS, TURNED, BatteryTry, OrientationPair

PAIRS: list[OrientationPair] = [(left, right) for left in ORIENTATIONS for right in ORIENTATIONS]
OPEN = np.array([0, 0, 0, 0, -1], dtype=np.float32)


def started(env: TabletopEnv, *, seed: int = 0) -> BatteryTry:
    env.reset(seed=seed)
    assert isinstance(env.task, BatteryTry)
    return env.task


def lay(env: TabletopEnv, task: BatteryTry, pair: OrientationPair) -> None:
    """Puts both cells into their bays without the arm."""
    for cell, orientation, x in zip(task.cells, pair, (-0.06, 0.06), strict=True):
        env.world.put(cell.body, (task.slot.x + x, task.slot.y, CELL_HALF_WIDTH), heading_of(orientation))
    env.world.forward()
    task.update(env.world)


def push(env: TabletopEnv, steps: int) -> bool:
    """Pushes against the fin like the expert, whatever is in the slot; returns whether the episode terminated."""
    assert isinstance(env.task, BatteryTry)
    terminated = False
    for _ in range(steps):
        if not terminated:
            expert_action = env.task._turn_dial(env.world, "")
            terminated = env.step(env.world.arm.action(env.world, expert_action))[2]
    return terminated


@pytest.mark.parametrize("pair", PAIRS)
def test_the_dial_turns_only_with_the_correct_pair(pair: OrientationPair) -> None:
    env = env_without_images("battery_try")
    task = started(env)
    env.world.arm.randomize_pose(env.world, np.random.default_rng(0), 0.1, 0.1)
    lay(env, task, pair)
    terminated = push(env, 30)
    if pair == task.solution:
        assert terminated
        assert env.world.joint_position(Dial.joint) > TURNED
        assert task.tried == []
    else:
        assert not terminated
        assert abs(env.world.joint_position(Dial.joint)) < 0.02
        assert task.tried == [pair]


def test_the_dial_is_locked_while_a_cell_is_missing_or_askew() -> None:
    env = env_without_images("battery_try")
    task = started(env)
    lay(env, task, task.solution)
    assert task.unlocked
    body = task.cells[0].body
    point, heading = env.world.position(body), env.world.heading(body)
    shifted = point + np.array([0.03, 0, 0])
    for position, yaw in ((point, heading + 0.6), (shifted, heading), (above(point, 0.02), heading)):
        env.world.put(body, position, yaw)
        env.world.forward()
        task.update(env.world)
        assert not task.unlocked
    env.world.put(body, point, heading + np.pi)  # the same orientation
    env.world.forward()
    task.update(env.world)
    assert task.unlocked


def test_the_next_episode_starts_with_a_locked_dial() -> None:
    env = env_without_images("battery_try")
    task = started(env)
    lay(env, task, task.solution)
    assert push(env, 40)
    started(env, seed=1)
    assert env.world.joint_position(Dial.joint) == 0.0
    assert push(env, 25) is False
    assert abs(env.world.joint_position(Dial.joint)) < 0.02


def test_a_failed_try_is_not_visible_afterwards() -> None:
    env = make_env("tabletop", task="battery_try")
    task = started(env)
    wrong = next(pair for pair in PAIRS if pair != task.solution)
    lay(env, task, wrong)
    for _ in range(3):
        env.step(OPEN)
    joints = env.world.data.qpos[:6].copy()
    before = env.observe()["images"]
    push(env, 25)
    assert task.tried == [wrong]
    env.world.data.qpos[:6] = joints
    env.world.forward()
    env.step(OPEN)
    env.world.data.qpos[:6] = joints
    env.world.forward()
    after = env.observe()["images"]
    assert all(np.array_equal(before[camera], after[camera]) for camera in before)


def test_the_expert_tries_one_pair_after_the_other_and_its_subtasks_name_them() -> None:
    env = env_without_images("battery_try")
    counts = set()
    for seed in range(8):
        spans = expert_subtask_spans(env, seed)
        task = env.task
        assert isinstance(task, BatteryTry)
        plan = task.plan
        count = plan.index(task.solution) + 1
        turns = [(side, pair[side == "right"]) for side, pair in zip(("right", "left", "right"), plan[1:], strict=True)]
        expected = ["put the left cell in the slot", "put the right cell in the slot"]
        for number, pair in enumerate(plan[:count]):
            if number:
                side, orientation = turns[number - 1]
                expected.append(f"turn the {side} cell {orientation}")
            expected.append(f"try the dial with {pair[0]} {pair[1]}")
        assert [text for text, _ in spans] == expected
        assert min(length for _, length in spans) >= 3
        counts.add(count)
    assert len(counts) > 2
