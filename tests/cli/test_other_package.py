"""The road from recordings to an evaluated policy, with an environment and a robot of another package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_plugins import KITCHEN

from wla.rollout.results import read_results

SHORT = "loop.optim.steps=1 loop.optim.warmup=0 loop.batch_size=2 loop.validation_samples=2"
COMMANDS = f"""
list environments
collect --env kitchen --tasks all --num-envs 2 --episodes 4 --out data
data check data
init data --robot kitchen-arm --chunk 4 --out mine.py
train mine.py {SHORT} --out run
eval-offline run --dataset data --out offline
eval run --env kitchen --num-envs 2 --episodes 2 --out closed
"""
KITCHEN_PACKAGE = f"""{KITCHEN.replace("[[0.25]]", "[(1.05 - observation.state) / 3]")}
ROBOT = Kitchen("turn", 16, 12).robot_spec
"""


@pytest.mark.slow
def test_all_commands_work_with_what_lives_in_another_package(tmp_path: Path) -> None:
    site = tmp_path / "site"
    metadata = site / "kitchen_sim-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "kitchen_sim.py").write_text(KITCHEN_PACKAGE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kitchen-sim\nVersion: 1.0\n")
    points = "[wla.envs]\nkitchen = kitchen_sim:FAMILY\n[wla.robots]\nkitchen-arm = kitchen_sim:ROBOT\n"
    (metadata / "entry_points.txt").write_text(points)
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for command in COMMANDS.strip().splitlines():
        words = [sys.executable, "-m", "wla", *command.split()]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"wla {command}\n{done.stdout}{done.stderr}"
    assert "robot=ROBOT" in (tmp_path / "mine.py").read_text()
    found = json.loads((tmp_path / "offline/offline.json").read_text())
    assert [each["name"] for each in found["dimensions"]] == ["turn"]
    results = read_results(tmp_path / "closed/results.jsonl")
    assert len(results) == 2
    assert {result.outcome for result in results} <= {"success", "failure"}
    assert results[0].versions["kitchen-sim"] == "2.0"
