"""Where actions lead, as the statistics and the names of a robot's numbers say."""

from __future__ import annotations

import pytest
import tiny
import torch

from wla.data.action_representation import ActionRepresentation, ActionRepresentationConfig
from wla.data.action_transform import ActionTransform
from wla.data.normalize import Normalizer, Statistics, VectorStatistics
from wla.envs.registry import make_env, make_expert
from wla.models.experts.action_conditioning import displacement
from wla.training.objectives.motion import motion_config
from wla.types import Observation


def statistics(state_low, state_high, action_low, action_high) -> Statistics:
    return Statistics(
        state=VectorStatistics(min=tuple(state_low), max=tuple(state_high)),
        action=VectorStatistics(min=tuple(action_low), max=tuple(action_high)),
    )


def units(robot, known: Statistics) -> tuple[Normalizer, ActionTransform]:
    action = Normalizer(known.action, name="action", dimensions="abcde")
    representation = ActionRepresentation(ActionRepresentationConfig(), robot)
    return Normalizer(known.state, name="state", dimensions="abcde"), ActionTransform(representation, action)


def test_the_simulator_goes_where_its_actions_lead():
    env = make_env("tabletop", task="place", image_size=32)
    robot, expert = env.robot_spec, make_expert("tabletop", env)
    known = statistics([-0.3, -0.2, 0.0, -1, 0], [0.25, 0.2, 0.2, 1, 0.1], [-0.02, -0.03, -0.01, -0.2, -1], [0.03] * 5)
    raw, info = env.reset(seed=3)
    seen = Observation(**raw)
    chunk, _ = expert.act(seen, expert.reset(info["instruction"]))
    for action in chunk.actions:
        raw, *_ = env.step(action)
    env.close()
    state, transform = units(robot, known)
    motion = motion_config(robot, state, transform, 6)
    assert (motion.state, motion.action) == ((0, 1, 2, 3), (0, 1, 2, 3))
    actions = torch.from_numpy(transform.encode(chunk.actions, seen.state))[None]
    end = torch.from_numpy(state.normalize(seen.state))[:4] + displacement(
        motion, actions, torch.ones(1, len(chunk.actions), 1)
    )
    torch.testing.assert_close(end[0], torch.from_numpy(state.normalize(raw["state"]))[:4], atol=0.02, rtol=0)
    assert (end[0] - torch.from_numpy(state.normalize(seen.state))[:4]).abs().max() > 0.1


def test_what_never_changed_is_not_moved():
    known = statistics([0, 0, 0, 0, 0], [0, 1, 1, 1, 1], [-0.1] * 5, [0.1] * 5)
    env = make_env("tabletop", task="place", image_size=32)
    motion = motion_config(env.robot_spec, *units(env.robot_spec, known), 6)
    env.close()
    assert motion.gain[0] == motion.offset[0] == 0
    assert motion.gain[1] == pytest.approx(0.2)


def test_a_robot_whose_actions_add_to_nothing_is_refused():
    robot, transform = tiny.robot_spec(), tiny.transform()
    absolute = robot.action.replace(kinds=("absolute",) * robot.action.dim)
    with pytest.raises(ValueError, match=r"num_frequencies: no action of .* adds to its state"):
        motion_config(robot.replace(action=absolute), transform.state, transform.actions, 6)
