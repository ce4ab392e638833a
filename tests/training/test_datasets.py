from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.writer import DatasetWriter
from wla.training.datasets import open_datasets, open_sources


def write_episodes(root: Path, *seeds: int | None) -> str:
    with DatasetWriter(root, tiny.robot_spec()) as writer:
        for seed in seeds:
            observation = tiny.observation()
            writer.add_frame(observation.images, observation.state, np.zeros(tiny.ACTION, np.float32), tiny.SUBTASKS[0])
            writer.end_episode("wait", keep=True, seed=seed)
    return str(root)


def test_a_folder_of_datasets_is_expanded(tmp_path):
    first, second = write_episodes(tmp_path / "all/first", 0), write_episodes(tmp_path / "all/second", 9_999)
    sources, datasets = open_sources([DatasetConfig(path=str(tmp_path / "all"), weight=1.0)])
    assert [source.path for source in sources] == [str(dataset.root) for dataset in datasets] == [first, second]
    assert [source.weight for source in sources] == [0.5, 0.5]


@pytest.mark.parametrize("seed", [10_000, 100_000])
def test_validation_and_evaluation_episodes_are_refused(tmp_path, seed):
    root = write_episodes(tmp_path / "data", 0, seed)
    with pytest.raises(ValueError, match=f"data: seed {seed} is not for training"):
        open_datasets([root])


def test_episodes_without_a_seed_are_accepted(tmp_path):
    assert len(open_datasets([write_episodes(tmp_path / "data", None)])) == 1
