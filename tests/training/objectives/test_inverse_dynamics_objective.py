from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from micro_batch import micro_batch_losses
from test_end_to_end import loop

from wla.data.lerobot.reader import LeRobotDataset
from wla.policy.inverse_checkpoint import load_inverse
from wla.training.objectives.configs import InverseDynamicsTrainConfig
from wla.training.trainer import train


def recipe(*datasets: Path) -> InverseDynamicsTrainConfig:
    return InverseDynamicsTrainConfig(
        cameras={"front": 32, "wrist": 16}, datasets=tuple(map(str, datasets)), loop=loop(2, muon=())
    )


def test_it_learns_the_actions_of_all_datasets(tmp_path):
    first, second = (tiny.write_dataset(tmp_path / name, length=4) for name in ("first", "second"))
    task = recipe(first, second).build()
    _, names = micro_batch_losses(task, 0, 64, torch.Generator().manual_seed(0))
    assert {name.split(" episode")[0] for name in names} == {str(first), str(second)}
    optimizer = torch.optim.Adam(task.module.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        terms, _ = micro_batch_losses(task, step, 16, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_it_says_how_much_it_explains_of_episodes_that_it_did_not_learn_from(tmp_path):
    task = recipe(tiny.write_dataset(tmp_path / "data", episodes=3)).build()
    _, names = micro_batch_losses(task, 0, 64, torch.Generator().manual_seed(0))
    assert {name.split(" frame")[0].split()[-1] for name in names} == {"0", "1"}  # the last one is kept to measure with
    task.save(tmp_path / "inverse", 0, task.module.state_dict())
    explained_variance = load_inverse(tmp_path / "inverse").config.explained_variance
    assert explained_variance is not None
    assert len(explained_variance) == tiny.ACTION
    assert max(explained_variance) < 0.5  # untrained, and the pictures are random


def test_a_run_saves_and_resumes(tmp_path):
    config = recipe(tiny.write_dataset(tmp_path / "data"))
    train(config.build(), config.loop, tmp_path / "run")
    longer = config.loop.replace(optim=config.loop.optim.replace(steps=3))
    assert load_inverse(train(config.build(), longer, tmp_path / "run", resume=True)).config.explained_variance


def test_one_episode_is_not_enough(tmp_path):
    with pytest.raises(ValueError, match="has one episode"):
        recipe(tiny.write_dataset(tmp_path / "data", episodes=1)).build()


def test_videos_without_actions_cannot_teach_it(tmp_path):
    with pytest.raises(ValueError, match="no actions to learn from"):
        recipe(tiny.write_dataset(tmp_path / "videos", with_actions=False)).build()
    with pytest.raises(ValueError, match="no actions to learn from"):
        recipe(tiny.write_dataset(tmp_path / "actions"), tmp_path / "videos").build()


def test_actions_that_were_not_executed_teach_nothing(tmp_path, monkeypatch):
    done = np.arange(20) % 2 == 0
    monkeypatch.setattr(LeRobotDataset, "action_executed", done)
    task = recipe(tiny.write_dataset(tmp_path / "data")).build()
    _, names = micro_batch_losses(task, 0, 64, torch.Generator().manual_seed(0))
    assert {int(name.split()[-1]) for name in names} == {0, 2, 4, 6, 8}
    done[:] = False
    with pytest.raises(ValueError, match="too few recorded actions were executed"):
        recipe(tmp_path / "data").build()
