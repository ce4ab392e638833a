"""One training step: its micro-batches, their losses and gradients, and the update of the weights.

Every step is a function of (weights, optimiser state, step number): batches and noise are sampled with generators
seeded by the step and the micro-batch's number. So a resumed run continues bit for bit, and several processes compute
the same step as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import islice
from typing import Any

import torch
from torch.profiler import record_function

from wla import runtime
from wla.training.configs import LoopConfig
from wla.training.learner import Learner
from wla.training.objective import AnyObjective, Objective, OnPolicyObjective
from wla.training.prefetch import prefetch
from wla.training.zero1 import Zero1Learner


class TrainingStopped(ValueError):
    """Error of a run that must not continue; the message names the reason and what is still saved."""


def micro_batch_range(config: LoopConfig) -> range:
    """Numbers of this process's micro-batches within a step. ValueError when they do not divide evenly."""
    count, processes = config.micro_batches, runtime.world_size()
    if count % processes:
        rounded_up = -(-count // processes) * processes
        raise ValueError(
            f"{count} micro-batches do not divide among {processes} processes: set loop.micro_batches={rounded_up}"
        )
    per_process = count // processes
    return range(per_process * runtime.rank(), per_process * (runtime.rank() + 1))


def build_learner(objective: AnyObjective, config: LoopConfig, device: torch.device) -> Learner:
    """Returns the objective's module with its optimisers, sharded over the processes by `config.strategy`."""
    if device.type == "cpu":
        runtime.tune_malloc()
    learner_class = Zero1Learner if config.strategy == "zero1" else Learner
    return learner_class(
        objective.module,
        objective.compute_losses,
        config.optim,
        device,
        accumulation_steps=len(micro_batch_range(config)),
        ema=config.ema,
    )


MicroBatches = Generator[list[tuple[int, torch.Generator, Any]]]
"""This process's micro-batches of each step: each one's seed, its generator, and the batch sampled with it."""


def sample_micro_batches(
    objective: Objective, config: LoopConfig, device: torch.device, steps: Iterable[int]
) -> MicroBatches:
    """Yields the micro-batches of each of `steps` for `training_step`, prefetched, after the objective has prepared the
    step. Closing it drops pending batches."""
    samples, numbers = config.batch_size // config.micro_batches, micro_batch_range(config)
    seeds = (micro_batch_seed(config, step, number) for step in steps for number in numbers)
    sampled = prefetch(
        lambda generator: objective.sample_batch(samples, generator), seeds, device, at_least=len(numbers)
    )
    with closing(sampled):
        while micro_batches := list(islice(sampled, len(numbers))):
            objective.prepare_step([batch for *_, batch in micro_batches])
            yield micro_batches


def perform_steps(
    objective: AnyObjective,
    learner: Learner,
    config: LoopConfig,
    device: torch.device,
    steps: Iterable[int],
    counter: Callable[[], AbstractContextManager[object] | None],
) -> Generator[dict[str, float]]:
    """Performs each of the steps when it is asked for and yields its record. Closing it ends what they needed.

    counter: see `training_step`; called before each step.
    """
    if isinstance(objective, OnPolicyObjective):
        with closing(objective):
            for step in steps:
                yield objective.update(step, learner, device)
        return
    with closing(sample_micro_batches(objective, config, device, steps)) as micro_batches:
        for step in steps:
            yield training_step(learner, config, device, step, micro_batches, counter())


def training_step(
    learner: Learner,
    config: LoopConfig,
    device: torch.device,
    step: int,
    micro_batches: MicroBatches,
    counter: AbstractContextManager[object] | None = None,
) -> dict[str, float]:
    """Performs one optimiser step on the next micro-batches. counter: context of their forward and backward passes.

    Returns the step's record: each loss term's mean over all micro-batches of all processes, the gradient norm before
    clipping and the learning rate. TrainingStopped, before the weights change, when any of these is not finite.
    """
    learning_rate = learner.prepare_step(step)
    with record_function("batches"):
        drawn = next(micro_batches)
    count = len(drawn)
    dtype = runtime.autocast_dtype(device)
    losses: list[dict[str, float]] = []
    ids: list[str] = []
    with counter or nullcontext():
        for seed, generator, batch in drawn:
            torch.manual_seed(seed)  # for dropout, which takes no generator
            with record_function("forward"), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                terms, sample_ids = learner.loss_module(step, batch, device, generator)
            with record_function("backward"):
                learner.backward(terms["loss"])
            losses.append({name: float(value.detach()) for name, value in terms.items()})
            if all(map(math.isfinite, losses[-1].values())):
                ids += sample_ids
            else:
                ids[:0] = sample_ids  # an error message names the first few: put the suspects there
    with record_function("clip"):
        grad_norm = learner.clip()
    means = [sum(values) / count for values in zip(*(terms.values() for terms in losses), strict=True)]
    record = dict(zip(losses[0], runtime.all_reduce_mean(means), strict=True))
    record |= {"grad_norm": grad_norm, "lr": learning_rate}
    require_finite(step, record, ids)
    with record_function("update"):
        learner.step()
    return record


def micro_batch_seed(config: LoopConfig, step: int, number: int) -> int:
    """Seed of everything random in one micro-batch of a step."""
    return hash((config.seed, step, number) if number else (config.seed, step)) % 2**63


def require_finite(step: int, record: Mapping[str, float], ids: Sequence[str]) -> None:
    """Raises TrainingStopped, with the first samples, when a loss or gradient is not finite."""
    if all(map(math.isfinite, record.values())):
        return
    terms = ", ".join(f"{name} {value:.3g}" for name, value in record.items())
    raise TrainingStopped(
        f"step {step}: not finite ({terms}) on samples {', '.join(ids[:8])}{' ...' if len(ids) > 8 else ''}; "
        "inspect these samples or lower the learning rate. The last saved checkpoint is untouched"
    )
