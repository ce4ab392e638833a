"""The training loop: it steps an `Objective`, logs, saves, resumes and stops cleanly.

From data to weights: `sample_micro_batches` samples the batches of a step, `training_step` computes their losses,
accumulates gradients and updates the weights, `train` repeats that and saves.

Every step is a function of (weights, optimiser state, step number): batches and noise are sampled with generators
seeded by the step and the micro-batch's number. So a resumed run continues bit for bit, and several processes compute
the same step as one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal, Protocol, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.files import disk_errors, recover
from wla.progress import LoopProgress
from wla.training.learner import Learner
from wla.training.metrics import keep_lines_before, log_step
from wla.training.optim import OptimConfig
from wla.training.plots import plot_metrics
from wla.training.prefetch import prefetch
from wla.training.zero1 import Zero1Learner

CHECKPOINT, STATE, METRICS, LOOP = "checkpoint", "training_state", "metrics.jsonl", "loop.json"
_DISK_HINT = "free disk space or choose another --out"


class LoopConfig(Config):
    """Configuration of the training loop, the same for every objective."""

    optim: OptimConfig
    batch_size: int = Field(default=64, ge=1)
    """Samples per step, over all micro-batches and processes."""
    micro_batches: int = Field(default=1, ge=1)
    """Micro-batches per step (gradient accumulation): losses and gradients are the mean over them. Several processes
    divide them among themselves."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights; the checkpoint then holds the averaged weights."""
    strategy: Literal["fsdp2", "zero1"] = "fsdp2"
    """Sharding over several processes: PyTorch's FSDP2 shards weights, gradients and optimiser state; DeepSpeed's
    ZeRO-1, as in the published training, the optimiser state alone."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of batches, noise and dropout."""
    save_every: int = Field(default=500, ge=1)
    """Steps between two saves."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two lines of metrics.jsonl."""
    device: str | None = None
    """Device to train on (cuda, cpu); None is a GPU where there is one."""

    @model_validator(mode="after")
    def _require_divisible(self) -> Self:
        if self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batches {self.micro_batches}; change one"
            )
        return self


StepLosses = tuple[dict[str, Tensor], list[str]]
"""Loss terms of a batch as scalars ("loss" is minimised, all are logged) and the ids of its samples."""


class Objective(Protocol):
    """The trained module with its batches, its losses and its checkpoint format."""

    @property
    def module(self) -> nn.Module:
        """Module whose parameters are trained."""
        ...

    def sample_batch(self, samples: int, generator: torch.Generator) -> Any:
        """Returns a batch of `samples` samples on the CPU; all randomness comes from the generator.

        It may run in another thread before its step, so it must not read anything that training changes.
        """
        ...

    def compute_losses(self, step: int, batch: Any, device: torch.device, generator: torch.Generator) -> StepLosses:
        """Forward pass of a sampled micro-batch; its noise continues the batch's generator.

        The blocks of the module that it runs and the terms that it returns depend on the step alone, because all
        processes must agree on them.
        """
        ...

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """Writes a checkpoint that is ready for use. weights: the gathered state dict; the module's own may be
        sharded."""
        ...


class TrainingStopped(ValueError):
    """Error of a run that must not continue; the message names the reason and what is still saved."""


def require_output_dir(out: Path, *, resume: bool) -> None:
    """Raises ValueError when a run cannot be written to `out`; called before the costly build of the objective."""
    checkpoint, state_folder = out / CHECKPOINT, out / STATE
    for folder in (checkpoint, state_folder):
        recover(folder)
    if resume:
        if not state_folder.exists():
            raise ValueError(f"{out}: nothing to resume here; start without --resume")
    elif state_folder.exists():
        raise ValueError(f"{out} holds a run already: continue it with --resume or choose another --out")
    elif checkpoint.exists():
        raise ValueError(f"{out} holds a checkpoint but no state to resume: move it away or choose another --out")
    with disk_errors(out, _DISK_HINT):
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass


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


def build_learner(objective: Objective, config: LoopConfig, device: torch.device) -> Learner:
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


def train(objective: Objective, config: LoopConfig, out: Path, *, resume: bool = False) -> Path:
    """Trains, and returns the folder of the final checkpoint, `out/checkpoint`.

    Ctrl-C finishes the current step, saves, and raises KeyboardInterrupt; the same call with resume=True continues.
    Several processes (see `runtime.process_group`) all call it with the same arguments. ValueError when `out` cannot be
    written or holds a different run, TrainingStopped when a loss or gradient is not finite.
    """
    micro_batch_range(config)
    runtime.on_rank_zero(lambda: require_output_dir(out, resume=resume))
    checkpoint, state_folder, metrics = out / CHECKPOINT, out / STATE, out / METRICS
    device = runtime.device(config.device)
    learner = build_learner(objective, config, device)
    start = 0
    if resume:
        _require_same_optimizers(out / LOOP, config)
        start = learner.load(state_folder)

    def prepare_output() -> None:
        with disk_errors(out, _DISK_HINT):
            keep_lines_before(metrics, start)
            config.save(out / LOOP)

    def log(step: int, record: dict[str, float]) -> None:
        with disk_errors(out, _recovery_hint(state_folder)):
            runtime.on_rank_zero(lambda: log_step(metrics, step, record))

    def save(step: int) -> None:
        with disk_errors(out, _recovery_hint(state_folder)):
            weights = learner.weights()
            runtime.on_rank_zero(lambda: objective.save(checkpoint, step, weights))
            learner.save(state_folder, step)
            runtime.on_rank_zero(lambda: plot_metrics(metrics))

    runtime.on_rank_zero(prepare_output)
    micro_batches = sample_micro_batches(objective, config, device, range(start, config.optim.steps))
    progress = LoopProgress(config.optim.steps, completed=start, description="training", disable=runtime.rank() > 0)
    with runtime.defer_signals() as interrupted, progress, closing(micro_batches):
        start_time = time.perf_counter()
        for step in range(start, config.optim.steps):
            record = training_step(learner, config, device, step, micro_batches)
            seconds = time.perf_counter() - start_time
            done = step + 1
            record["samples_per_s"] = (done - start) * config.batch_size / seconds
            if step % config.log_every == 0 or done == config.optim.steps:
                log(step, record)
            progress.advance(f"loss {record['loss']:.4f}")
            stop = runtime.all_reduce_any(interrupted())
            if stop or done % config.save_every == 0 or done == config.optim.steps:
                save(done)
            if stop:
                raise KeyboardInterrupt(f"training stopped after step {done}, saved in {out}; --resume continues")
    return checkpoint


MicroBatches = Generator[tuple[int, torch.Generator, Any]]
"""This process's micro-batches in order: each one's seed, its generator, and the batch sampled with that generator."""


def sample_micro_batches(
    objective: Objective, config: LoopConfig, device: torch.device, steps: Iterable[int]
) -> MicroBatches:
    """Yields the micro-batches of `steps` for `training_step`, prefetched."""
    samples, numbers = config.batch_size // config.micro_batches, micro_batch_range(config)
    seeds = (micro_batch_seed(config, step, number) for step in steps for number in numbers)
    return prefetch(lambda generator: objective.sample_batch(samples, generator), seeds, device)


def training_step(
    learner: Learner, config: LoopConfig, device: torch.device, step: int, micro_batches: MicroBatches
) -> dict[str, float]:
    """Performs one optimiser step on the next micro-batches.

    Returns the step's record: each loss term's mean over all micro-batches of all processes, the gradient norm before
    clipping and the learning rate. TrainingStopped, before the weights change, when any of these is not finite.
    """
    learning_rate = learner.prepare_step(step)
    count = len(micro_batch_range(config))
    dtype = runtime.autocast_dtype(device)
    losses: list[dict[str, float]] = []
    ids: list[str] = []
    for _ in range(count):
        seed, generator, batch = next(micro_batches)
        torch.manual_seed(seed)  # for dropout, which takes no generator
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            terms, sample_ids = learner.loss_module(step, batch, device, generator)
        learner.backward(terms["loss"])
        losses.append({name: float(value.detach()) for name, value in terms.items()})
        if all(map(math.isfinite, losses[-1].values())):
            ids += sample_ids
        else:
            ids[:0] = sample_ids  # an error message names the first few: put the suspects there
    grad_norm = learner.clip()
    means = [sum(values) / count for values in zip(*(terms.values() for terms in losses), strict=True)]
    record = dict(zip(losses[0], runtime.all_reduce_mean(means), strict=True))
    record |= {"grad_norm": grad_norm, "lr": learning_rate}
    _require_finite(step, record, ids)
    learner.step()
    return record


def micro_batch_seed(config: LoopConfig, step: int, number: int) -> int:
    """Seed of everything random in one micro-batch of a step."""
    return hash((config.seed, step, number) if number else (config.seed, step)) % 2**63


def _require_finite(step: int, record: dict[str, float], ids: list[str]) -> None:
    if all(map(math.isfinite, record.values())):
        return
    terms = ", ".join(f"{name} {value:.3g}" for name, value in record.items())
    raise TrainingStopped(
        f"step {step}: not finite ({terms}) on samples {', '.join(ids[:8])}{' ...' if len(ids) > 8 else ''}; "
        "inspect these samples or lower the learning rate. The last saved checkpoint is untouched"
    )


def _require_same_optimizers(path: Path, config: LoopConfig) -> None:
    """Raises ValueError when a resumed run would assign parameters to other optimisers than before.

    Learning rates and the number of steps may change; the assignment may not, or optimiser states would be mixed up.
    """
    if not path.is_file():
        return
    previous = LoopConfig.load(path)
    for name, old, new in (
        ("optim.muon", list(previous.optim.muon), list(config.optim.muon)),
        ("optim.freeze", list(previous.optim.freeze), list(config.optim.freeze)),
        ("ema", previous.ema, config.ema),
    ):
        if old != new:
            raise ValueError(f"{path}: this run was started with {name} {old}, not {new}; resume with it")


def _recovery_hint(state_folder: Path) -> str:
    if state_folder.exists():
        return "the last saved state is untouched: free disk space, then --resume continues from there"
    return "there is nothing to resume yet: free disk space or choose another --out, and start again"
