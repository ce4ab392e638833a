from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from test_whole_path import loop

from wla.training.inverse_training import InverseTraining


def recipe(*datasets: Path) -> InverseTraining:
    return InverseTraining(cameras={"front": 32, "wrist": 16}, datasets=tuple(map(str, datasets)), loop=loop(2))


def test_it_learns_the_actions_of_all_datasets(tmp_path):
    first, second = (tiny.write_dataset(tmp_path / name, length=4) for name in ("first", "second"))
    task = recipe(first, second).build()
    _, names = task.losses(0, 64, torch.device("cpu"), torch.Generator().manual_seed(0))
    assert {name.split(" episode")[0] for name in names} == {str(first), str(second)}
    optimizer = torch.optim.Adam(task.module.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        terms, _ = task.losses(step, 16, torch.device("cpu"), torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(terms["loss"].item())
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_videos_without_actions_cannot_teach_it(tmp_path):
    with pytest.raises(ValueError, match="no actions to learn from"):
        recipe(tiny.write_dataset(tmp_path / "videos", with_actions=False)).build()
