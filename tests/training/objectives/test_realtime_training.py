"""Training for real-time chunking: the checkpoint knows how many actions it can continue, and continues them."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from behaviour_cloning import BehaviourCloningConfig

from wla.data.loader import DatasetConfig
from wla.policy.checkpoint import save_checkpoint
from wla.policy.wla_policy import load_policy
from wla.training.configs import LoopConfig, OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.objectives.initialization_kinds import FromCheckpoint
from wla.training.trainer import train


def recipe(folder) -> PolicyTrainConfig:
    tiny.write_dataset(folder / "robot")
    save_checkpoint(tiny.checkpoint(), folder / "policy")
    return PolicyTrainConfig(
        model=tiny.model_config(),
        init=FromCheckpoint(policy=str(folder / "policy")),
        datasets=(DatasetConfig(path=str(folder / "robot")),),
        loop=LoopConfig(optim=OptimConfig(steps=2, warmup=0), batch_size=2, device="cpu"),
    ).override(["realtime.max_delay=2"])


def test_a_trained_policy_continues_as_many_actions_as_it_learned(tmp_path) -> None:
    config = recipe(tmp_path)
    policy = load_policy(train(config.build(), config.loop, tmp_path / "run"))
    state = policy.reset("press the button")
    begun = policy.act(tiny.observation(), state)[0].actions[::-1].copy()
    chunk, _ = policy.act(tiny.observation(), state, prefix=begun[:3], delay=2)
    np.testing.assert_allclose(chunk.actions[:2], begun[:2], atol=1e-5)
    with pytest.raises(ValueError, match="delays of up to 2 control steps, not 3"):
        policy.act(tiny.observation(), state, prefix=begun[:3])


def test_a_model_that_cannot_says_so() -> None:
    with pytest.raises(ValueError, match=r"realtime.max_delay: models of kind 'behaviour_cloning'"):
        BehaviourCloningConfig(cameras={"front": 16}, state_dim=3, action_dim=2, chunk=4).with_max_delay(2)
