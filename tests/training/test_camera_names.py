"""Cameras whose names begin with a word for another time, or are no names of parameters: trained on, and acting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.models.inverse_dynamics import InverseConfig, InverseDynamics
from wla.policy.wla_policy import load_policy
from wla.presets import nano_backbone
from wla.specs import RobotSpec
from wla.training.objectives.from_backbone import FromBackbone
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.objectives.pretrained_backbone import adapt_cameras
from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig, train
from wla.types import ImageKey, Observation

CAMERAS = ("first person", "observation.image")
"""The cameras `person` and `image` of a dataset, had their names been read otherwise."""


def robot() -> RobotSpec:
    spec = tiny.robot_spec()
    return spec.replace(observation=spec.observation.replace(cameras=dict.fromkeys(CAMERAS, (32, 32))))


def observation(step: int) -> Observation:
    seen = tiny.observation(step)
    return Observation(dict(zip(CAMERAS, seen.images.values(), strict=True)), seen.state)


def write(root: Path) -> Path:
    rng = np.random.default_rng(0)
    with DatasetWriter(root, robot()) as writer:
        for step in range(10):
            seen = observation(step)
            action = rng.uniform(-0.1, 0.1, tiny.ACTION).astype(np.float32)
            writer.add_frame(seen.images, seen.state, action, tiny.SUBTASKS[step // 5])
        writer.end_episode(tiny.INSTRUCTIONS[0], keep=True, seed=0)
    return root


def recipe(root: Path, images: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> PolicyTrainConfig:
    model = tiny.model_config()
    model = model.replace(backbone=model.backbone.replace(cameras=images))
    start = Initialization(model.build(), tiny.PROMPT, tiny.tokenizer())
    monkeypatch.setattr(FromBackbone, "initialize", lambda *_: start)
    return PolicyTrainConfig(
        model=model,
        init=FromBackbone(backbone="unused", codec="unused"),
        datasets=(DatasetConfig(path=str(root)),),
        loop=LoopConfig(optim=OptimConfig(steps=1, learning_rate=1e-3), batch_size=2, device="cpu"),
    )


def test_a_policy_of_such_cameras_is_trained_and_acts(tmp_path, monkeypatch):
    root = write(tmp_path / "data")
    assert list(LeRobotDataset(root).cameras) == list(CAMERAS)
    images = {str(ImageKey(camera)): side for camera, side in zip(CAMERAS, (32, 16), strict=True)}
    assert list(images) == ["current first person", "observation.image"]
    config = recipe(root, images, monkeypatch)
    policy = load_policy(train(config.build(), config.loop, tmp_path / "run"), imagination=True)
    assert policy.primary == "first person"
    chunk, _ = policy.act(observation(0), policy.reset(tiny.INSTRUCTIONS[0]), imagine=True)
    assert chunk.subgoal is not None
    assert np.isfinite(chunk.actions).all()


def test_a_model_of_the_bare_name_is_answered_with_the_right_one(tmp_path, monkeypatch):
    config = recipe(write(tmp_path / "data"), {"first person": 32, "observation.image": 16}, monkeypatch)
    with pytest.raises(
        ValueError, match=r"needs camera 'person' .* images of 'first person' as 'current first person'"
    ):
        config.build()


@pytest.mark.parametrize("name", ["a.b", "keys", "training", "a%2Eb", "a/b", "图像"])
def test_any_name_has_weights_of_its_own(name):
    names = ("top", name, f"{name}.")
    backbone = nano_backbone(dict.fromkeys(names, 32)).build()
    adapted = adapt_cameras(nano_backbone({"top": 32}).build(), dict.fromkeys(names, 32))
    assert adapted.keys() == backbone.state_dict().keys()
    assert sum(key.startswith("stem.positions.") for key in adapted) == 3
    assert len(InverseDynamics(InverseConfig(cameras=dict.fromkeys(names, 32), action_dim=2)).keypoint_encoders) == 3
