"""Units and noise at the border between a policy and its model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.data import ActionRepresentationConfig, RelativeActionsConfig, RotationConfig, Statistics, VectorStatistics
from wla.models.experts.action_expert import ActionExpert
from wla.policy.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from wla.policy.robots import PolicyRobot
from wla.policy.wla_policy import WLAPolicy


def policy() -> WLAPolicy:
    statistics = Statistics(
        state=VectorStatistics(min=(-1.0, 0.0, 0.0), max=(3.0, 2.0, 4.0)),
        action=VectorStatistics(min=(0.0, -0.1), max=(0.08, 0.1)),
    )
    robots = (PolicyRobot(spec=tiny.robot_spec(), statistics=statistics),)
    return WLAPolicy(replace(tiny.checkpoint(), robots=robots), name="tiny", checkpoint_sha256="0")


@pytest.mark.parametrize(("sampled", "actions"), [(0.5, (0.06, 0.05)), (-1.0, (0.0, -0.1)), (2.0, (0.1, 0.2))])
def test_sampled_actions_are_denormalised_and_clipped_to_the_robot_s_limits(monkeypatch, sampled, actions):
    monkeypatch.setattr(
        ActionExpert, "sample", lambda _, __, ___, noise, *____, **_____: torch.full_like(noise, sampled)
    )
    acting = policy()
    chunk, _ = acting.act(tiny.observation(), acting.reset("press the button"))
    np.testing.assert_allclose(chunk.actions, np.tile(np.float32(actions), (tiny.CHUNK, 1)), atol=1e-6)


def test_the_model_receives_the_normalised_state(monkeypatch):
    states = []

    def sample(_, __, state, noise, *___, **____):
        states.append(state)
        return noise

    monkeypatch.setattr(ActionExpert, "sample", sample)
    acting, observation = policy(), tiny.observation()
    acting.act(replace(observation, state=np.float32([3.0, 0.0, 3.0])), acting.reset("press the button"))
    np.testing.assert_allclose(states[0].cpu().numpy(), [[1.0, -1.0, 0.5]], atol=1e-6)


def test_the_noise_follows_from_the_seed_and_the_number_of_the_call():
    acting = policy()
    start = acting.reset("press the button", seed=3)
    states = [start, replace(start, num_calls=1), replace(start, seed=4)]
    chunks = [acting.act(tiny.observation(), state)[0].actions for state in (*states, *states)]
    for first, second in zip(chunks[:3], chunks[3:], strict=True):
        np.testing.assert_array_equal(first, second)
    assert len({chunk.tobytes() for chunk in chunks}) == 3


def checkpoint_of_poses() -> Checkpoint:
    """A policy of an arm whose actions are a rotation and a gripper, both absolute; it predicts relative rotations."""
    own = tiny.checkpoint()
    spec = own.robot.spec
    turn = ("rx", "ry", "rz")
    action = spec.action.replace(
        names=(*turn, "gripper"),
        units=("rad",) * 4,
        kinds=("absolute",) * 4,
        low=(-4.0,) * 4,
        high=(4.0,) * 4,
    )
    observation = spec.observation.replace(state_names=turn, state_units=("rad",) * 3)
    expert = own.config.model.action_expert.replace(action_dim=7)
    config = own.config.replace(
        model=own.config.model.replace(action_expert=expert),
        action_representation=ActionRepresentationConfig(
            relative=RelativeActionsConfig(), rotations=(RotationConfig(format="axis_angle", columns=turn),)
        ),
    )
    ranges = VectorStatistics(min=(-1.0,) * 6 + (0.0,), max=(1.0,) * 6 + (2.0,))
    return replace(
        own,
        config=config,
        model=config.model.build().eval(),
        robots=(
            PolicyRobot(
                spec=spec.replace(action=action, observation=observation),
                statistics=own.robot.statistics.replace(action=ranges),
            ),
        ),
    )


def test_a_policy_runs_the_actions_whose_representation_its_model_samples(monkeypatch, tmp_path):
    save_checkpoint(checkpoint_of_poses(), tmp_path / "poses")
    checkpoint = load_checkpoint(tmp_path / "poses")
    acting = WLAPolicy(checkpoint, name="poses", checkpoint_sha256="0")
    rng = np.random.default_rng(0)
    observations = [replace(tiny.observation(), state=rng.uniform(-1, 1, 3).astype(np.float32)) for _ in range(2)]
    wanted = rng.uniform(-1, 1, (2, tiny.CHUNK, 4)).astype(np.float32)
    state = np.stack([observation.state for observation in observations])
    sampled = torch.from_numpy(checkpoint.transform(checkpoint.robot).actions.encode(wanted, state))
    monkeypatch.setattr(
        ActionExpert, "sample", lambda _, __, ___, noise, *____, **_____: sampled.repeat(len(noise) // 2, 1, 1)
    )
    states = [acting.reset("press the button")] * 2
    answers = acting.act_batch(observations, states)
    np.testing.assert_allclose([chunk.actions for chunk, _ in answers], wanted, atol=1e-5)
    several = acting.sample_actions(acting.encode(observations, states), 3)
    np.testing.assert_allclose(several, np.repeat(wanted[:, None], 3, axis=1), atol=1e-5)


def test_a_prefix_is_represented_from_the_state_of_the_call(monkeypatch):
    prefixes = []

    def sample_actions(_, encoding, *, noise, num_steps, prefix, delay):
        prefixes.append(prefix)
        return noise

    checkpoint = checkpoint_of_poses()
    monkeypatch.setattr(type(checkpoint.model), "sample_actions", sample_actions)
    acting = WLAPolicy(checkpoint, name="poses", checkpoint_sha256="0")
    prefix = np.float32([[0.1, 0.2, 0.3, 1.0]])
    acting.act(tiny.observation(), acting.reset("press the button"), prefix=prefix)
    wanted = checkpoint.transform(checkpoint.robot).actions.encode(prefix, tiny.observation().state)
    np.testing.assert_array_equal(prefixes[0].cpu().numpy(), wanted[None])


def test_a_model_of_other_dimensions_than_the_representation_is_refused(tmp_path):
    checkpoint = checkpoint_of_poses()
    save_checkpoint(checkpoint, tmp_path / "poses")
    checkpoint.config.replace(action_representation=ActionRepresentationConfig()).save(tmp_path / "poses/config.json")
    with pytest.raises(ValueError, match=r"is for 7 action dimensions and .* has 4"):
        load_checkpoint(tmp_path / "poses")
