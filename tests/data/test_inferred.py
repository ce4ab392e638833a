from __future__ import annotations

import numpy as np
import pytest

from wla.data.inferred import load_inferred, save_inferred

ACTIONS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7


def test_they_come_back_as_they_were_written(tmp_path):
    save_inferred(ACTIONS, tmp_path / "a.parquet")
    np.testing.assert_array_equal(load_inferred(tmp_path / "a.parquet", 4, 3), ACTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_files_that_are_absent_damaged_or_of_another_dataset(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(ValueError, match="no inferred actions"):
        load_inferred(path, 4, 3)
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="no inferred actions"):
        load_inferred(path, 4, 3)
    save_inferred(ACTIONS, path)
    with pytest.raises(ValueError, match="4 actions for 5 frames"):
        load_inferred(path, 5, 3)
    with pytest.raises(ValueError, match="actions of 3 numbers, the robot's have 2"):
        load_inferred(path, 4, 2)
