"""Units of a policy that is trained on datasets with and without actions."""

from __future__ import annotations

import numpy as np
import tiny

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.loader import DatasetConfig
from wla.data.normalize import compute_statistics
from wla.policy.checkpoint import load_checkpoint
from wla.training.objective import LoopConfig
from wla.training.objectives.initialization import FromBackbone, Initialization
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.optim import OptimConfig
from wla.training.trainer import train


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


def test_a_resumed_run_keeps_its_ranges_and_tokens_where_its_dataset_has_grown(tmp_path, monkeypatch, capsys):
    tiny.write_dataset(tmp_path / "robot")
    start = Initialization(tiny.checkpoint().model, tiny.PROMPT, tiny.tokenizer())
    monkeypatch.setattr(FromBackbone, "initialize", lambda *_: start)
    recipe = PolicyTrainConfig(
        model=tiny.model_config(),
        init=FromBackbone(backbone="unused", codec="unused"),
        datasets=(DatasetConfig(path=str(tmp_path / "robot")),),
        loop=LoopConfig(optim=OptimConfig(steps=1), batch_size=2, device="cpu"),
    )
    first = load_checkpoint(train(recipe.build(), recipe.loop, tmp_path / "run"))
    with DatasetWriter(tmp_path / "robot", tiny.robot_spec()) as writer:
        frame = tiny.observation()
        for _ in range(5):
            writer.add_frame(frame.images, 10 + frame.state, np.full(tiny.ACTION, 0.1, np.float32), "wait")
        writer.end_episode("wait", keep=True, seed=9)
    grown = recipe.build()
    assert grown.checkpoint.statistics != first.statistics
    loop = recipe.loop.replace(optim=OptimConfig(steps=2))
    second = load_checkpoint(train(grown, loop, tmp_path / "run", resume=True))
    assert second.statistics == first.statistics == grown.checkpoint.statistics
    assert second.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    assert "the datasets have changed since this run was started" in capsys.readouterr().err
