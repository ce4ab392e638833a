"""Passes over what an update has collected, in minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from wla.models.trajectory import Rows
from wla.training.configs import LoopConfig
from wla.training.learner import Learner
from wla.training.step import micro_batch_seed, require_finite


def update_generator(loop: LoopConfig, step: int) -> torch.Generator:
    """A generator for everything random in an update, which follows from its number."""
    return torch.Generator().manual_seed(micro_batch_seed(loop, step, 0))


def optimize(
    learner: Learner,
    loop: LoopConfig,
    step: int,
    rows: Rows,
    count: int,
    epochs: int,
    suspects: Sequence[str],
    generator: torch.Generator,
) -> dict[str, float]:
    """Takes a step of the optimiser for each minibatch of `loop.batch_size` rows and returns the means of its metrics.

    Without rows the weights stay as they are.

    Args:
        learner: its losses are computed from some rows and a generator.
        loop: size of a minibatch.
        step: number of the update.
        rows: what is learned from.
        count: its number of rows.
        epochs: passes over the rows.
        suspects: named where a loss is not finite.
        generator: of the order of the rows and all noise.

    Raises:
        TrainingStopped: a loss or gradient is not finite.
    """
    records = list(_steps(learner, loop.batch_size, step, rows, count, epochs, suspects, generator))
    return {name: sum(record[name] for record in records) / len(records) for name in records[0]}


def _steps(
    learner: Learner,
    size: int,
    step: int,
    rows: Rows,
    count: int,
    epochs: int,
    suspects: Sequence[str],
    generator: torch.Generator,
) -> Iterator[Mapping[str, float]]:
    learning_rate = learner.prepare_step(step)
    if not count:
        yield {"loss": 0.0, "grad_norm": 0.0, "lr": learning_rate}
    for _ in range(epochs if count else 0):
        for index in torch.randperm(count, generator=generator).split(size):
            learner.prepare_step(step)
            terms = learner.loss_module(rows.rows(index), generator)
            learner.backward(terms["loss"])
            record = {name: float(value.detach()) for name, value in terms.items()}
            record |= {"grad_norm": learner.clip(), "lr": learning_rate}
            require_finite(step, record, suspects)
            learner.step()
            yield record
