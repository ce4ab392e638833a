from __future__ import annotations

import errno
import json
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from wla.training.optim import OptimConfig, build_optimizers, schedule
from wla.training.trainer import LoopConfig, StepLosses, TrainingStopped, train


def loop(steps: int, **changes: object) -> LoopConfig:
    optim = OptimConfig(steps=steps, learning_rate=1e-2, warmup=3, muon=("0.weight",))
    return LoopConfig(optim=optim, batch_size=4, log_every=1, **changes)


class Toy:
    """A small network on noise; `at` runs a function at one step."""

    def __init__(self, at: int = -1, what=lambda: None) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
        self._at, self._what = at, what
        self.poison = 0.0

    @property
    def module(self) -> nn.Module:
        return self.net

    def losses(self, step: int, device: torch.device, generator: torch.Generator) -> StepLosses:
        x = torch.randn(4, 3, generator=generator)
        if step == self._at:
            self._what()
        loss = (self.net(x) - x.sum(1, keepdim=True)).float().square().mean() + self.poison
        return {"loss": loss}, [f"sample {step}-{i}" for i in range(4)]

    def save(self, folder: Path, step: int) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "step").write_text(str(step))


def metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(out: Path) -> list[float]:
    return [row["loss"] for row in metrics(out)]


def test_resuming_equals_never_having_stopped(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    task = Toy()
    train(task, loop(40), whole)

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="after step 20"):
        train(Toy(at=19, what=interrupt), loop(40), halves)
    resumed = Toy()
    train(resumed, loop(40), halves, resume=True)
    assert [row["step"] for row in metrics(halves)] == list(range(40))
    assert losses(halves)[20:] == losses(whole)[20:]
    for ours, theirs in zip(resumed.net.parameters(), task.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_steps_logged_after_the_last_save_are_run_again(tmp_path):
    train(Toy(), loop(12), tmp_path / "whole")
    out = tmp_path / "run"

    def crash() -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        train(Toy(at=9, what=crash), loop(12, save_every=5), out)
    train(Toy(), loop(12, save_every=5), out, resume=True)
    assert [row["step"] for row in metrics(out)] == list(range(12))
    assert losses(out) == losses(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_samples(tmp_path):
    task = Toy(at=3)
    task._what = lambda: setattr(task, "poison", float("nan"))
    with pytest.raises(TrainingStopped, match=r"step 3: not finite \(loss nan.*sample 3-0, sample 3-1"):
        train(task, loop(10, save_every=2), tmp_path)
    assert (tmp_path / "checkpoint" / "step").read_text() == "2"
    assert all(p.isfinite().all() for p in task.net.parameters())


def test_a_full_disk_leaves_the_last_state_resumable(tmp_path, monkeypatch):
    train(Toy(), loop(12), tmp_path / "whole")
    out = tmp_path / "run"
    from wla.training import resume

    save_file, calls = resume.save_file, []

    def full(*args: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(*args)

    monkeypatch.setattr(resume, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        train(Toy(), loop(12, save_every=4), out)
    train(Toy(), loop(12, save_every=4), out, resume=True)
    assert losses(out) == losses(tmp_path / "whole")


def test_a_run_is_never_overwritten_by_accident(tmp_path):
    train(Toy(), loop(2), tmp_path)
    with pytest.raises(ValueError, match="holds a run already"):
        train(Toy(), loop(2), tmp_path)
    with pytest.raises(ValueError, match="nothing to resume"):
        train(Toy(), loop(2), tmp_path / "other", resume=True)


def test_a_run_leaves_curves(tmp_path):
    train(Toy(), loop(4), tmp_path)
    assert (tmp_path / "metrics.png").stat().st_size > 1000


def test_learning_rate_warms_up_and_decays():
    config = OptimConfig(steps=100, learning_rate=1.0, final_learning_rate=0.1, warmup=10)
    rates = [schedule(config, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[9:]))


def test_muon_takes_the_matrices_that_are_named_and_a_pattern_that_matches_none_raises():
    net = Toy().net
    adam, muon = build_optimizers(OptimConfig(steps=1, muon=(r"^0\.",)), net)
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(net[0].weight)]
    assert len(adam.param_groups[0]["params"]) == 3
    with pytest.raises(ValueError, match="matches no matrix"):
        build_optimizers(OptimConfig(steps=1, muon=("bias",)), net)
