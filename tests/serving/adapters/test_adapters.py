"""Adapters against the packages that they are for, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SOURCE = Path(__file__).parents[3] / "src"
LIGHT = (
    "gymnasium",
    "jaxtyping",
    "lazy_loader",
    "msgpack",
    "mujoco>=3.3,<4",
    "pillow",
    "psutil",
    "pydantic",
    "websockets",
)
"""What a client and the simulator need: no model libraries."""
PEERS = {"vla_eval": "vla-eval==0.8.0", "inspect_robots": "inspect-robots==0.60.0"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [sys.executable, "-m", "wla", "serve", "nano-tabletop", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split(" on ")[1].split()[0]
    finally:
        server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_an_episode_succeeds_under_another_package(peer: str, address: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", PEERS[peer], *LIGHT], check=True, stderr=subprocess.DEVNULL)
    command = [python, FOLDER / f"{peer}_episode.py", address, "place", "310000"]
    arguments = [*command, tmp_path / "logs"] if peer == "inspect_robots" else command
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if peer == "inspect_robots":
        assert done.stdout.startswith("success")
        assert "'success_at_end': 1.0" in done.stdout
    else:
        # In real time success depends on how busy the machine is; that the episode is played to its end does not.
        assert "SyncEpisodeRunner {'success': True}" in done.stdout
        assert "LiveEpisodeRunner {'success': " in done.stdout
