from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.writer import DatasetWriter
from wla.training.datasets import open_datasets, open_sources


def of_seed(root: Path, *seeds: int | None) -> str:
    with DatasetWriter(root, tiny.robot_spec()) as writer:
        for seed in seeds:
            seen = tiny.observation()
            writer.add_frame(seen.images, seen.state, np.zeros(tiny.ACTION, np.float32), tiny.SUBTASKS[0])
            writer.end_episode("wait", keep=True, seed=seed)
    return str(root)


def test_a_folder_of_datasets_is_each_of_them(tmp_path):
    first, second = of_seed(tmp_path / "all/first", 0), of_seed(tmp_path / "all/second", 9_999)
    sources, datasets = open_sources([DatasetConfig(path=str(tmp_path / "all"), weight=1.0)])
    assert [source.path for source in sources] == [str(dataset.root) for dataset in datasets] == [first, second]
    assert [source.weight for source in sources] == [0.5, 0.5]


@pytest.mark.parametrize("seed", [10_000, 100_000])
def test_episodes_to_measure_with_are_not_trained_on(tmp_path, seed):
    root = of_seed(tmp_path / "data", 0, seed)
    with pytest.raises(ValueError, match=f"data: seed {seed} is not for training"):
        open_datasets([root])


def test_episodes_of_others_have_no_seed(tmp_path):
    assert len(open_datasets([of_seed(tmp_path / "data", None)])) == 1
