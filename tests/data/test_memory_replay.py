from __future__ import annotations

import numpy as np
import pytest

from wla.data.memory_replay import MemoryReplay

REPLAY = MemoryReplay(
    frames=np.array([0, 4, 8, 10, 14]),
    memories=[(), ("greifen",), ("greifen", "抓住方块"), (), ("a", "a")],
    subtasks=[(), ("b",), ("b", "c"), (), ("d",)],
)
STARTS = np.array([0, 10])


def test_a_saved_memory_replay_loads_unchanged(tmp_path):
    REPLAY.save(tmp_path / "memory.parquet")
    loaded = MemoryReplay.load(tmp_path / "memory.parquet", STARTS)
    assert loaded.frames.tolist() == REPLAY.frames.tolist()
    assert (loaded.memories, loaded.subtasks) == (REPLAY.memories, REPLAY.subtasks)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.parquet"]


def test_the_last_row_at_or_before_a_frame():
    assert REPLAY.at_or_before(np.array([0, 3, 4, 9, 10, 13, 99])).tolist() == [0, 0, 1, 2, 3, 3, 4]


def test_files_that_are_absent_damaged_or_of_a_different_dataset(tmp_path):
    path = tmp_path / "memory.parquet"
    with pytest.raises(ValueError, match="no recorded memory"):
        MemoryReplay.load(path, STARTS)
    path.write_text("no parquet")
    with pytest.raises(ValueError, match="no recorded memory"):
        MemoryReplay.load(path, STARTS)
    REPLAY.save(path)
    with pytest.raises(ValueError, match="recorded on a different dataset"):
        MemoryReplay.load(path, np.array([0, 9]))
