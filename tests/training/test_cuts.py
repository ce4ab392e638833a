"""A training that is killed at any file call of any save can be resumed, or started again before its first save."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cuts import cut_everywhere
from test_locks import hold
from test_trainer import Toy, loop, losses, train

from wla.run_folder import checkpoint_folder, latest_step, state_folder
from wla.training import trainer
from wla.training.saving import output_dir


class TwoFiles(Toy):
    """Its checkpoint is of one step only if both files name the same."""

    def save(self, folder: Path, step: int, weights: dict[str, torch.Tensor]) -> None:
        super().save(folder, step, weights)
        (folder / "again").write_text(str(step))


def saved_step(out: Path) -> int | None:
    """The step of the complete checkpoint in a run; None without any."""
    step = latest_step(out)
    if step is not None:
        folder = checkpoint_folder(out / "checkpoint")
        assert [(folder / name).read_text() for name in ("step", "again")] == [str(step)] * 2
    return step


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_any_file_call_goes_on(tmp_path, monkeypatch, every):
    monkeypatch.setattr("wla.training.sinks.plot_metrics", lambda metrics: None)  # takes longer than all else
    whole = tmp_path / "uninterrupted"
    train(TwoFiles(), loop(3), whole)
    returned: list[int] = []

    def record(out: Path, step: int, **parts: object) -> None:
        save(out, step, **parts)
        returned.append(step)

    save = trainer.save_generation
    monkeypatch.setattr(trainer, "save_generation", record)

    def write(out: Path) -> None:
        returned.clear()
        train(TwoFiles(), loop(3, save_every=1, keep=1), out)

    def check(out: Path, completed: bool) -> None:
        assert (saved_step(out) or 0) >= max(returned, default=0), "a save that had returned is lost"
        resume = state_folder(out) is not None
        if not completed:
            train(TwoFiles(), loop(3, save_every=1, keep=1), out, resume=resume)
        assert saved_step(out) == 3
        assert losses(out) == losses(whole)
        names = {path.name for path in (out / "steps").iterdir()}
        assert names in ({"000003"}, {"000002", "000003"}), "killed in the last removal at most an old save is left"
        assert not (out / ".lock").exists()

    calls = cut_everywhere(tmp_path, lambda folder: None, write, check, every=every)
    assert calls > 60


@pytest.mark.slow
def test_thirty_kills_at_random_moments_lose_no_save(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "kill_training.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(script), "--kills", "30", "--seed", "1", "--no-store"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_second_training_in_one_folder_is_refused_before_it_is_built(tmp_path):
    with hold(tmp_path / "run") as process:
        with (
            pytest.raises(ValueError, match=rf"run: another process \(pid {process.pid}\) writes here now"),
            output_dir(tmp_path / "run", resume=False),
        ):
            pass
        process.kill()
