"""One writer per folder, also where writers are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wla.locks import LOCK, locked

HOLDER = """
import sys, time
from pathlib import Path
from wla.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Starts a process that holds the lock of a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDER, str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_process_gets_the_id_of_the_writer_and_a_killed_one_frees_the_folder(tmp_path):
    folder = tmp_path / "new" / "run"
    (tmp_path / "link").symlink_to(folder)
    with hold(folder) as process:
        for name in (folder, tmp_path / "link"):
            with (
                pytest.raises(ValueError, match=rf"run: another process \(pid {process.pid}\) writes here now"),
                locked(name),
            ):
                pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / LOCK).exists()
    with locked(folder), locked(folder):  # a command locks before its parts do
        assert (folder / LOCK).read_text() == f"{os.getpid()}\n"
    assert not (folder / LOCK).exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/run: cannot write .*; choose"), locked(tmp_path / "file/run", "choose"):
        pass
