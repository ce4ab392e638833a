"""Logs for Rerun: entities with the names of LeRobot's datasets, and a clear line without the package."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_robot import robot

from wla.html import jpeg
from wla.serving.watch.rerun_log import RerunLog


def prediction(step: int, instruction: str = "go", age_s: float = 0.0) -> dict[str, Any]:
    image = jpeg(np.zeros((32, 48, 3), np.uint8), 48)
    seen = {"images": {"front": image, "wrist": image}, "state": np.zeros(3, np.float32), "infer_ms": 20.0}
    plan = {"actions": np.full((4, 2), step, np.float32), "subtasks": ["reach"], "memory": ["looked"], "subgoal": image}
    return {"session": 1, "prediction_id": 1, "step": step, "age_s": age_s, "instruction": instruction, **seen, **plan}


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ModuleNotFoundError, match="pip install rerun-sdk"):
        RerunLog(str(tmp_path))


@pytest.mark.slow
def test_an_episode_is_a_file_that_rerun_reads(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    log = RerunLog(str(tmp_path / "logs"))
    log.connected({}, robot())
    log.received(prediction(0, age_s=time.monotonic() + 1))  # of before it was watched
    log.received({"session": 1, "memory": []})
    for step in (0, 2, 4):
        log.received(prediction(step))
    log.received(prediction(0, instruction="another"))
    log.close()
    files = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert files == ["session_1_episode_1.rrd", "session_1_episode_2.rrd"]
    command = [str(Path(sys.executable).with_name("rerun")), "rrd", "print", "-vvv", str(tmp_path / "logs" / files[0])]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for entity in ("observation.images.front", "observation.images.wrist", "observation.state", "action", "subtask"):
        assert f"/{entity}" in shown, shown
    assert "frame_index" in shown
