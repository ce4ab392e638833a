from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from test_trainer import Toy, loop
from torch import nn

from wla.training.ema import EMA
from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig, train
from wla.weights import read_tensors, save_weights

DECAY = 0.8


class Keeping(Toy):
    """Notes its weights at the beginning of each step, and saves what it is given."""

    def __init__(self, **changes) -> None:
        super().__init__(**changes)
        self.weights: list[dict[str, torch.Tensor]] = []

    def compute_losses(self, step, batch, device, generator):
        self.weights.append({name: value.clone() for name, value in self.net.state_dict().items()})
        return super().compute_losses(step, batch, device, generator)

    def save(self, folder: Path, step: int, weights: dict[str, torch.Tensor]) -> None:
        super().save(folder, step, weights)
        save_weights(weights, folder / "w.safetensors")


def averaging(steps: int, **changes: object) -> LoopConfig:
    return loop(steps, ema=DECAY, **changes)


def test_the_checkpoint_holds_the_average_of_all_weights_there_were(tmp_path):
    task = Keeping()
    out = train(task, averaging(6), tmp_path)
    every = [*task.weights, task.net.state_dict()]
    saved = read_tensors(out / "w.safetensors")
    for name in saved:
        expected = every[0][name]
        for weights in every[1:]:
            expected = DECAY * expected + (1 - DECAY) * weights[name]
        torch.testing.assert_close(saved[name], expected, atol=1e-6, rtol=1e-6)
        assert not torch.equal(saved[name], every[-1][name])


def test_without_an_average_the_checkpoint_holds_the_weights(tmp_path):
    task = Keeping()
    saved = read_tensors(train(task, loop(3), tmp_path) / "w.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in task.net.state_dict().items())


def test_resuming_goes_on_with_the_average_bit_for_bit(tmp_path):
    whole = read_tensors(train(Keeping(), averaging(8), tmp_path / "whole") / "w.safetensors")
    halves = tmp_path / "halves"
    with pytest.raises(KeyboardInterrupt):
        train(Keeping(at=3, what=lambda: os.kill(os.getpid(), signal.SIGTERM)), averaging(8), halves)
    resumed = read_tensors(train(Keeping(), averaging(8), halves, resume=True) / "w.safetensors")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    with pytest.raises(ValueError, match=r"loop.json: this run began with ema 0.8, not None; resume with it"):
        train(Keeping(), loop(9), halves, resume=True)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match="ema"):
        LoopConfig(optim=OptimConfig(steps=1), ema=decay)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2, bias=False)
        self.second = nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)


def test_a_tied_weight_is_averaged_under_each_of_its_names_and_a_frozen_one_not_at_all():
    module = Tied()
    average = EMA(module, DECAY)
    assert list(average.values) == ["first.weight"]
    before = module.first.weight.detach().clone()
    module.first.weight.data += 1
    average.update(module)
    state = average.state_dict(module)
    torch.testing.assert_close(state["first.weight"], before + 0.2)
    assert torch.equal(state["second.weight"], state["first.weight"])
    assert torch.equal(state["frozen"], module.frozen)
