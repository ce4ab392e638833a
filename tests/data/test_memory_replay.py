from __future__ import annotations

import numpy as np
import pytest

from wla.data.memory_replay import MemoryReplay

RECALLED = MemoryReplay(
    frames=np.array([0, 4, 8, 10, 14]),
    memories=[(), ("greifen",), ("greifen", "抓住方块"), (), ("a", "a")],
    subtasks=[(), ("b",), ("b", "c"), (), ("d",)],
)
STARTS = np.array([0, 10])


def test_it_comes_back_as_it_was_written(tmp_path):
    RECALLED.save(tmp_path / "own.parquet")
    back = MemoryReplay.load(tmp_path / "own.parquet", STARTS)
    assert back.frames.tolist() == RECALLED.frames.tolist()
    assert (back.memories, back.subtasks) == (RECALLED.memories, RECALLED.subtasks)
    assert [path.name for path in tmp_path.iterdir()] == ["own.parquet"]


def test_the_last_call_at_or_before_a_frame():
    assert RECALLED.at_or_before(np.array([0, 3, 4, 9, 10, 13, 99])).tolist() == [0, 0, 1, 2, 3, 3, 4]


def test_files_that_are_absent_damaged_or_of_another_dataset(tmp_path):
    path = tmp_path / "own.parquet"
    with pytest.raises(ValueError, match="no recalled memories"):
        MemoryReplay.load(path, STARTS)
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="no recalled memories"):
        MemoryReplay.load(path, STARTS)
    RECALLED.save(path)
    with pytest.raises(ValueError, match="recalled on another dataset"):
        MemoryReplay.load(path, np.array([0, 9]))
