from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from test_trainer import Toy, loop
from torch import nn

from wla.training.configs import LoopConfig, OptimConfig
from wla.training.ema import EMA
from wla.training.trainer import train
from wla.weights import read_tensors, save_weights

DECAY = 0.8


class Recorder(Toy):
    """Records its weights before each step, and saves the weights that it receives."""

    def __init__(self, **changes) -> None:
        super().__init__(**changes)
        self.weights: list[dict[str, torch.Tensor]] = []

    def compute_losses(self, step, batch, device, generator):
        self.weights.append({name: value.clone() for name, value in self.net.state_dict().items()})
        return super().compute_losses(step, batch, device, generator)

    def save(self, folder: Path, step: int, weights: dict[str, torch.Tensor]) -> None:
        super().save(folder, step, weights)
        save_weights(weights, folder / "w.safetensors")


def ema_loop(steps: int, **changes: object) -> LoopConfig:
    return loop(steps, ema=DECAY, **changes)


def test_the_checkpoint_holds_the_moving_average_of_the_weights(tmp_path):
    objective = Recorder()
    out = train(objective, ema_loop(6), tmp_path)
    history = [*objective.weights, objective.net.state_dict()]
    saved = read_tensors(out / "w.safetensors")
    for name in saved:
        expected = history[0][name]
        for weights in history[1:]:
            expected = DECAY * expected + (1 - DECAY) * weights[name]
        torch.testing.assert_close(saved[name], expected, atol=1e-6, rtol=1e-6)
        assert not torch.equal(saved[name], history[-1][name])


def test_without_ema_the_checkpoint_holds_the_weights(tmp_path):
    objective = Recorder()
    saved = read_tensors(train(objective, loop(3), tmp_path) / "w.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in objective.net.state_dict().items())


def test_resuming_continues_the_average_bit_for_bit(tmp_path):
    whole = read_tensors(train(Recorder(), ema_loop(8), tmp_path / "whole") / "w.safetensors")
    halves = tmp_path / "halves"
    with pytest.raises(KeyboardInterrupt):
        train(Recorder(at=3, action=lambda: os.kill(os.getpid(), signal.SIGTERM)), ema_loop(8), halves)
    resumed = read_tensors(train(Recorder(), ema_loop(8), halves, resume=True) / "w.safetensors")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    with pytest.raises(ValueError, match=r"loop.json: this run was started with ema 0.8, not None; resume with it"):
        train(Recorder(), loop(9), halves, resume=True)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_a_decay_outside_zero_to_one_is_refused(decay):
    with pytest.raises(ValueError, match="ema"):
        LoopConfig(optim=OptimConfig(steps=1), ema=decay)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)


def test_tied_weights_are_averaged_under_each_name_and_frozen_ones_not_at_all():
    module = Tied()
    ema = EMA(module, DECAY)
    assert list(ema.values) == ["first.weight"]
    before = module.first.weight.detach().clone()
    module.first.weight.data += 1
    ema.update(module)
    state = ema.state_dict(module)
    torch.testing.assert_close(state["first.weight"], before + 0.2)
    assert torch.equal(state["second.weight"], state["first.weight"])
    assert torch.equal(state["frozen"], module.frozen)
