"""Standard output that is closed, full, or read by a program that ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path(os.sep, "dev", "full")
COMMAND = [sys.executable, "-m", "wla"]


@pytest.mark.parametrize("words", [["eval", "--help"], ["--version"]])
def test_a_reader_that_ends_is_no_error(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["eval", "--help"], ["--version"]])
def test_a_full_disk_is_one_line(words: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "wla: error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, tmp_path: Path) -> None:
    line = f"exec {sys.executable} -m wla data check nosuch {closed}"
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True).returncode == 2


def test_no_character_of_a_name_fails() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "data", "check", "dä\udcff"], env=environment, capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b"wla: error: d\\xe4\\udcff: no such dataset")
