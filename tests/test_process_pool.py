"""Processes that Ctrl-C reaches with their parent leave it to the parent, and end with it, also when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WAITING = """
import os, sys, time
from pathlib import Path
from wla.process_pool import submit, worker_pool

def wait(path):
    path.write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    with worker_pool(2) as pool:
        for job in [submit(pool, wait, Path(name)) for name in sys.argv[1:]]:
            job.result()
"""


@pytest.fixture
def waiting(tmp_path):
    """A process with two workers that wait, and their files, which name them."""
    script, names = tmp_path / "waiting.py", [tmp_path / "a", tmp_path / "b"]
    script.write_text(WAITING)
    process = subprocess.Popen(
        [sys.executable, script, *names], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not all(name.exists() and name.read_text() for name in names) and process.poll() is None:
        time.sleep(0.1)
    return process, names


def runs(name):
    """Whether the process that the file names is there; one that ended and was not yet asked about has no command."""
    command = Path("/proc") / name.read_text() / "cmdline"
    return command.exists() and bool(command.read_bytes())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")
def test_workers_of_a_killed_process_end(waiting):
    process, names = waiting
    assert all(map(runs, names))
    process.kill()
    process.wait()
    until = time.monotonic() + 30
    while any(map(runs, names)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(runs, names))


@pytest.mark.slow
def test_ctrl_c_ends_the_processes_without_a_word_of_theirs(waiting):
    process, _ = waiting
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, error = process.communicate(timeout=60)
    assert error.count("Traceback") == 1  # the parent's own
    assert error.rstrip().endswith("KeyboardInterrupt")
