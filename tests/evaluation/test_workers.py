"""Processes that Ctrl-C reaches with their parent leave it to the parent, and end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

WAITING = """
import sys, time
from pathlib import Path
from wla.evaluation.workers import submit, worker_pool

def wait(path):
    path.touch()
    time.sleep(600)

if __name__ == "__main__":
    with worker_pool(2) as pool:
        for job in [submit(pool, wait, Path(name)) for name in sys.argv[1:]]:
            job.result()
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_processes_without_a_word_of_theirs(tmp_path):
    script, names = tmp_path / "waiting.py", [tmp_path / "a", tmp_path / "b"]
    script.write_text(WAITING)
    process = subprocess.Popen(
        [sys.executable, script, *names], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not all(name.exists() for name in names) and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, error = process.communicate(timeout=60)
    assert error.count("Traceback") == 1  # the parent's own
    assert error.rstrip().endswith("KeyboardInterrupt")
