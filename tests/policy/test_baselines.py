import numpy as np
import pytest
from toy_robot import robot

from wla.envs.registry import make_env
from wla.policy.baselines import RandomPolicy, ZeroPolicy, rest_action
from wla.types import Observation

OBSERVATION = Observation({"front": np.zeros((16, 16, 3), np.uint8)}, np.zeros(1, np.float32))


def acted(policy, seed, steps=50):
    state, actions = policy.reset("go", seed=seed), []
    for _ in range(steps):
        chunk, state = policy.act(OBSERVATION, state)
        assert chunk.actions.shape == (1, 2)
        assert chunk.actions.dtype == np.float32
        actions.append(chunk.actions[0])
    return np.stack(actions)


def test_random_actions_fill_the_limits_and_follow_the_seed():
    policy = RandomPolicy(robot(limits=(-0.1, 0.2)))
    actions = acted(policy, 3)
    assert (actions >= [-0.1, -1.0]).all()
    assert (actions <= [0.2, 1.0]).all()
    assert (actions.std(axis=0) > [0.05, 0.4]).all()
    np.testing.assert_array_equal(actions, acted(policy, 3))
    assert not np.array_equal(actions, acted(policy, 4))


def test_zero_stands_still_with_an_open_gripper():
    np.testing.assert_array_equal(acted(ZeroPolicy(robot()), 0), np.tile(np.float32([0, -1]), (50, 1)))


def test_absolute_positions_cannot_be_held_by_a_constant():
    action = robot().action.replace(names=("joint", "gripper"), kinds=("absolute", "absolute"))
    with pytest.raises(ValueError, match="still: joint"):
        rest_action(action)


def test_zero_does_not_move_the_tabletop():
    env = make_env("tabletop", task="place", setting="clean", embodiment="gantry")
    raw, _ = env.reset(seed=0)
    first, policy = raw["state"], ZeroPolicy(env.robot_spec)
    chunk, _ = policy.act(Observation(**raw), policy.reset("stay"))
    for _ in range(3):
        raw, *_ = env.step(chunk.actions[0])
    env.close()
    np.testing.assert_allclose(raw["state"][:4], first[:4], atol=1e-3)
