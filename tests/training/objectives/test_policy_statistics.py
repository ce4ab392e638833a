"""Units of a policy that is trained on datasets with and without actions."""

from __future__ import annotations

import numpy as np
import tiny

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.loader import DatasetConfig
from wla.data.normalize import compute_statistics
from wla.training.objective import LoopConfig
from wla.training.objectives.initialization import FromBackbone, Initialization
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.optim import OptimConfig


def test_statistics_are_those_of_the_datasets_whose_actions_are_trained(tmp_path, monkeypatch):
    tiny.write_dataset(tmp_path / "robot")
    with DatasetWriter(tmp_path / "videos", tiny.robot_spec()) as writer:
        frame = tiny.observation()
        for _ in range(5):
            writer.add_frame(frame.images, 10 * frame.state, np.full(tiny.ACTION, 9.0, np.float32), "wait")
        writer.end_episode("wait", keep=True, seed=0)
    start = Initialization(tiny.checkpoint().model, tiny.PROMPT, tiny.tokenizer())
    monkeypatch.setattr(FromBackbone, "initialize", lambda *_: start)
    recipe = PolicyTrainConfig(
        model=tiny.model_config(),
        init=FromBackbone(backbone="unused", codec="unused"),
        datasets=(
            DatasetConfig(path=str(tmp_path / "robot")),
            DatasetConfig(path=str(tmp_path / "videos"), actions=False),
        ),
        loop=LoopConfig(optim=OptimConfig(steps=1)),
    )
    expected = compute_statistics([LeRobotDataset(tmp_path / "robot")])
    assert recipe.build().checkpoint.statistics == expected
