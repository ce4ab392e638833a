from __future__ import annotations

import pytest
import torch
from test_trainer import Toy, loop, losses
from torch import nn

from wla.training.configs import LoopConfig
from wla.training.objective import StepLosses
from wla.training.step import TrainingStopped, build_learner, sample_micro_batches, training_step
from wla.training.trainer import train

CPU = torch.device("cpu")


class Rows(Toy):
    """A plain mean over eight fixed rows, divided in order among the micro-batches of a step."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(5))
        self.seeds: list[int] = []
        self.position = 0
        self.bad_row = -1

    def sample_batch(self, samples: int, generator: torch.Generator) -> torch.Tensor:
        chosen = torch.arange(self.position, self.position + samples) % 8
        self.position += samples
        return chosen

    def compute_losses(
        self, step: int, batch: torch.Tensor, device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        self.seeds.append(generator.initial_seed())
        x = self.rows[batch]
        loss = (self.net(x).float() - x.sum(1, keepdim=True)).square().mean()
        if self.bad_row in batch:
            loss = loss * float("inf")
        return {"loss": loss}, [f"row {i}" for i in batch.tolist()]


def rows_loop(micro_batches: int) -> LoopConfig:
    changes = {"batch_size": 8, "micro_batches": micro_batches, "device": "cpu"}
    return loop(4).replace(**changes)


def one_step(micro_batches: int) -> tuple[dict[str, float], Rows]:
    """A step without clipping or bfloat16, which would hide or create differences."""
    objective = Rows()
    config = rows_loop(micro_batches)
    config = config.replace(optim=config.optim.replace(clip=1e9, muon=()))
    record = training_step(
        build_learner(objective, config, CPU), config, CPU, 0, sample_micro_batches(objective, config, CPU, [0])
    )
    return record, objective


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    monkeypatch.setattr("wla.runtime.autocast_dtype", lambda device: torch.float32)


@pytest.mark.parametrize("micro_batches", [2, 4, 8])
def test_a_plain_mean_does_not_depend_on_the_micro_batches(micro_batches):
    whole, objective = one_step(1)
    parts, other = one_step(micro_batches)
    assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-6)
    assert parts["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-6)
    for ours, theirs in zip(other.net.parameters(), objective.net.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)


def test_every_micro_batch_has_its_own_seed_and_the_first_that_of_a_single_batch():
    seeds = one_step(4)[1].seeds
    assert len(set(seeds)) == 4
    assert seeds[0] == one_step(1)[1].seeds[0] == hash((0, 0)) % 2**63


def test_dropout_depends_on_the_step_alone(tmp_path):
    class RowsWithDropout(Rows):
        def __init__(self) -> None:
            super().__init__()
            self.net.insert(1, nn.Dropout(0.5))

    for name in ("first", "second"):
        torch.manual_seed(hash(name) % 1000)
        train(RowsWithDropout(), rows_loop(2), tmp_path / name)
    assert losses(tmp_path / "first") == losses(tmp_path / "second")


def test_samples_of_a_micro_batch_that_is_not_finite_are_named_first_and_weights_stay(tmp_path):
    objective = Rows()
    objective.bad_row = 5
    before = [value.clone() for value in objective.net.parameters()]
    with pytest.raises(TrainingStopped, match=r"not finite .* on samples row 4, row 5, row 0"):
        train(objective, rows_loop(4), tmp_path)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(objective.net.parameters(), before, strict=True))


def test_a_batch_size_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"override: .*batch_size 4 is not a multiple of micro_batches 3; change one"):
        loop(4).override(["micro_batches=3"])
