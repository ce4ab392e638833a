from __future__ import annotations

import numpy as np
import pytest
from episodes import env_without_images

from wla.envs.tabletop.arm import SPEED, ExpertAction


@pytest.mark.parametrize("embodiment", ["gantry", "scara"])
def test_commanded_motion_is_completed_within_the_step(embodiment: str) -> None:
    env = env_without_images("press", embodiment=embodiment)
    rng = np.random.default_rng(0)
    high = np.array(env.robot_spec.action.high)
    errors = []
    for seed in range(5):
        before = env.reset(seed=seed)[0]["state"]
        for _ in range(8):
            action = (rng.uniform(-0.5, 0.5, high.shape) * high).astype(np.float32)
            action[2] = abs(action[2]) / 8  # stay over the table
            after = env.step(action)[0]["state"]
            errors.append(np.abs((after - before - action)[:3] / high[:3]).max())
            before = after
    assert max(errors) < 0.05


@pytest.mark.parametrize("embodiment", ["gantry", "scara"])
def test_an_arm_with_zero_action_does_not_move(embodiment: str) -> None:
    env = env_without_images("press", embodiment=embodiment)
    start = env.reset(seed=3)[0]["state"]
    idle = np.zeros(len(env.robot_spec.action.low), dtype=np.float32)
    for _ in range(30):
        state = env.step(idle)[0]["state"]
    assert np.abs(state - start)[:3].max() < 1e-3


@pytest.mark.parametrize("embodiment", ["gantry", "scara"])
def test_experts_move_the_tool_straight_and_within_limits(embodiment: str) -> None:
    env = env_without_images("press", embodiment=embodiment)
    for seed in range(10):
        env.reset(seed=seed)
        before = env.world.tool
        move = np.array([0.0, 0.0, 0.15]) - before
        action = env.world.arm.action(env.world, ExpertAction(move, "tool", ""))
        assert env.action_space.contains(action)
        env.step(action)
        moved = env.world.tool - before
        assert np.hypot(*moved[:2]) < SPEED * 1.05
        cosine = moved[:2] @ move[:2] / np.linalg.norm(moved[:2]) / np.linalg.norm(move[:2])
        assert cosine > 0.97


def test_the_gantry_measures_its_gripper_width_instead_of_repeating_the_command() -> None:
    env = env_without_images("place")
    env.sample_scene(0)
    block = env.world.blocks()[0].body
    env.world.arm.randomize_pose(env.world, np.random.default_rng(0), 0.1, 0.12)
    env.world.arm.hold(env.world, block)
    close = np.array([0, 0, 0.01, 0, 1], dtype=np.float32)
    for _ in range(5):
        state = env.step(close)[0]["state"]
    assert state[4] == pytest.approx(0.04, abs=0.003)
    assert env.world.arm.holds(env.world, block)
    assert env.world.position(block)[2] > 0.1
    state = env.step(np.array([0, 0, 0, 0, -1], dtype=np.float32))[0]["state"]
    assert state[4] == pytest.approx(0.08, abs=0.003)
    assert not env.world.arm.holds(env.world, block)


def test_the_scara_carries_a_block_by_suction_and_drops_it_on_command() -> None:
    env = env_without_images("place", embodiment="scara")
    env.sample_scene(0)
    block = env.world.blocks()[0].body
    env.world.arm.randomize_pose(env.world, np.random.default_rng(0), 0.1, 0.12)
    env.world.arm.hold(env.world, block)
    for _ in range(10):
        state = env.step(np.array([0.05, -0.05, 0.005, 1], dtype=np.float32))[0]["state"]
    assert state[3] == 1.0
    assert np.abs(env.world.position(block) - env.world.tool)[:2].max() < 0.003
    for _ in range(4):
        state = env.step(np.array([0, 0, 0, -1], dtype=np.float32))[0]["state"]
    assert state[3] == 0.0
    assert env.world.position(block)[2] < 0.05


def test_suction_without_contact_holds_nothing() -> None:
    env = env_without_images("place", embodiment="scara")
    env.reset(seed=0)
    assert env.step(np.array([0, 0, 0, 1], dtype=np.float32))[0]["state"][3] == 0.0
