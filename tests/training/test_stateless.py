"""A robot that measures no state: recorded, trained on with the optimizers of the recipes, saved, and acting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.writer import DatasetWriter
from wla.policy.wla_policy import load_policy
from wla.presets.nano import NANO_POLICY_MATRICES
from wla.specs import RobotSpec
from wla.training.configs import OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromBackbone
from wla.training.trainer import LoopConfig, train
from wla.types import Observation

NO_STATE = np.zeros(0, np.float32)


def robot() -> RobotSpec:
    spec = tiny.robot_spec()
    return spec.replace(observation=spec.observation.replace(state_names=(), state_units=()))


def write(root: Path) -> Path:
    rng = np.random.default_rng(0)
    with DatasetWriter(root, robot()) as writer:
        for step in range(10):
            action = rng.uniform(-0.1, 0.1, tiny.ACTION).astype(np.float32)
            writer.add_frame(tiny.observation(step).images, NO_STATE, action, tiny.SUBTASKS[step // 5])
        writer.end_episode(tiny.INSTRUCTIONS[0], keep=True, seed=0)
    return root


def test_a_policy_without_a_state_is_trained_and_acts(tmp_path, monkeypatch):
    model = tiny.model_config()
    model = model.replace(action_expert=model.action_expert.replace(state_dim=0))
    start = Initialization(model.build(), tiny.PROMPT, tiny.tokenizer())
    monkeypatch.setattr(FromBackbone, "initialize", lambda *_: start)
    recipe = PolicyTrainConfig(
        model=model,
        init=FromBackbone(backbone="unused", codec="unused"),
        datasets=(DatasetConfig(path=str(write(tmp_path / "data"))),),
        loop=LoopConfig(
            optim=OptimConfig(steps=2, learning_rate=1e-3, muon=NANO_POLICY_MATRICES), batch_size=2, device="cpu"
        ),
    )
    policy = load_policy(train(recipe.build(), recipe.loop, tmp_path / "run"), imagination=True)
    assert policy.robot_spec.observation.state_dim == 0
    seen = Observation(tiny.observation().images, NO_STATE)
    chunk, state = policy.act(seen, policy.reset(tiny.INSTRUCTIONS[0]), imagine=True)
    assert chunk.actions.shape == (tiny.CHUNK, tiny.ACTION)
    assert np.isfinite(policy.act(seen, state)[0].actions).all()
    with pytest.raises(ValueError, match=r"state is .*; this policy needs float32 \(0,\)"):
        policy.act(tiny.observation(), policy.reset(tiny.INSTRUCTIONS[0]))
