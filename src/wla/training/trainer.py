"""The training loop. What is trained is a `Objective`; the loop steps, logs, saves, resumes and stops cleanly.

Every step is a function of (weights, optimiser, step number): batches and noise are drawn from generators seeded
with the step and the number of the micro-batch. So resuming continues bit for bit, and several processes do what one
does.
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
from wla.training.metrics import append_line, keep_lines_before
from wla.training.optim import OptimConfig
from wla.training.plots import plot_metrics
from wla.training.prefetch import prefetch
from wla.training.zero1 import Zero1Learner

CHECKPOINT, STATE, METRICS, LOOP = "checkpoint", "training_state", "metrics.jsonl", "loop.json"
_DISK_HINT = "free disk space or choose another --out"


class LoopConfig(Config):
    """How to train, whatever is trained."""

    optim: OptimConfig
    batch_size: int = Field(default=64, ge=1)
    """Samples of a step, over all its micro-batches and processes."""
    micro_batches: int = Field(default=1, ge=1)
    """A step's losses and gradients are the mean over these; several processes share them out."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an average of the weights, which the checkpoint then holds in their place."""
    strategy: Literal["fsdp2", "zero1"] = "fsdp2"
    """How several processes share the work: PyTorch's FSDP2 spreads weights, gradients and moments; DeepSpeed's ZeRO-1,
    as published, the moments alone."""
    seed: int = Field(default=0, ge=0)
    save_every: int = Field(default=500, ge=1)
    log_every: int = Field(default=10, ge=1)
    device: str | None = None

    @model_validator(mode="after")
    def _require_divisible(self) -> Self:
        if self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of micro_batches {self.micro_batches}; change one"
            )
        return self


StepLosses = tuple[dict[str, Tensor], list[str]]
"""Loss terms of a batch ("loss" is minimised, the others are logged) and the ids of its samples."""


class Objective(Protocol):
    """Something to train: a module, its batches, its loss, and how to save it for use."""

    @property
    def module(self) -> nn.Module: ...

    def sample_batch(self, samples: int, generator: torch.Generator) -> Any:
        """So many samples, on the CPU; all that is random comes from the generator.

        It may run in another thread, before its step: nothing that training changes may be read here.
        """
        ...

    def compute_losses(self, step: int, batch: Any, device: torch.device, generator: torch.Generator) -> StepLosses:
        """Forward pass of a micro-batch that was drawn; what is random goes on with its generator.

        Which blocks of the module it goes through, and which terms it returns, follows from the step alone.
        """
        ...

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """Write a usable checkpoint. weights: the state of the module, which may be spread over processes itself."""
        ...


class TrainingStopped(ValueError):
    """A run that must not go on; the message says why and what was kept."""


def require_output_dir(out: Path, *, resume: bool) -> None:
    """ValueError when a run cannot be written to `out`; asked before minutes go into building what is to be trained."""
    checkpoint, state_folder = out / CHECKPOINT, out / STATE
    for folder in (checkpoint, state_folder):
        recover(folder)
    if resume:
        if not state_folder.exists():
            raise ValueError(f"{out}: nothing to resume here; start without --resume")
    elif state_folder.exists():
        raise ValueError(f"{out} holds a run already: continue it with --resume or choose another --out")
    elif checkpoint.exists():
        raise ValueError(f"{out} holds a checkpoint and no state to resume: move it away or choose another --out")
    with disk_errors(out, _DISK_HINT):
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass


def micro_batch_range(config: LoopConfig) -> range:
    """The numbers of this process's micro-batches. ValueError when they cannot be shared out evenly."""
    count, processes = config.micro_batches, runtime.world_size()
    if count % processes:
        up = -(-count // processes) * processes
        raise ValueError(
            f"{count} micro-batches cannot be shared by {processes} processes: set loop.micro_batches={up}"
        )
    share = count // processes
    return range(share * runtime.rank(), share * (runtime.rank() + 1))


def build_learner(objective: Objective, config: LoopConfig, device: torch.device) -> Learner:
    """What the loop steps, spread over the processes as the configuration says."""
    if device.type == "cpu":
        runtime.tune_malloc()
    kind = Zero1Learner if config.strategy == "zero1" else Learner
    share = len(micro_batch_range(config))
    return kind(
        objective.module, objective.compute_losses, config.optim, device, accumulation_steps=share, ema=config.ema
    )


def train(objective: Objective, config: LoopConfig, out: Path, *, resume: bool = False) -> Path:
    """Train and return the folder of the final checkpoint, `out/checkpoint`.

    Ctrl-C finishes the running step, saves, and raises KeyboardInterrupt; the same call with resume=True continues.
    Several processes (see `runtime.process_group`) all call it with the same arguments.
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

    def begin() -> None:
        with disk_errors(out, _DISK_HINT):
            keep_lines_before(metrics, start)
            config.save(out / LOOP)

    def log(step: int, record: dict[str, float]) -> None:
        with disk_errors(out, _recovery_hint(state_folder)):
            runtime.on_rank_zero(lambda: append_line(metrics, {"step": step, **record}))

    def save(step: int) -> None:
        with disk_errors(out, _recovery_hint(state_folder)):
            weights = learner.weights()
            runtime.on_rank_zero(lambda: objective.save(checkpoint, step, weights))
            learner.save(state_folder, step)
            runtime.on_rank_zero(lambda: plot_metrics(metrics))

    runtime.on_rank_zero(begin)
    micro_batches = sample_micro_batches(objective, config, device, range(start, config.optim.steps))
    progress = LoopProgress(config.optim.steps, completed=start, description="training", disable=runtime.rank() > 0)
    with runtime.defer_signals() as interrupted, progress, closing(micro_batches):
        began, last_saved = time.perf_counter(), start
        for step in range(start, config.optim.steps):
            record = training_step(learner, config, device, step, micro_batches)
            seconds = time.perf_counter() - began
            record["samples_per_s"] = (step + 1 - start) * config.batch_size / seconds
            if step % config.log_every == 0 or step + 1 == config.optim.steps:
                log(step, record)
            progress.advance(f"loss {record['loss']:.4f}")
            stop = runtime.all_reduce_any(interrupted())
            if stop or (step + 1) % config.save_every == 0 or step + 1 == config.optim.steps:
                save(step + 1)
                last_saved = step + 1
            if stop:
                raise KeyboardInterrupt(f"training stopped after step {last_saved}, saved in {out}; --resume continues")
    return checkpoint


MicroBatches = Generator[tuple[int, torch.Generator, Any]]
"""Of each micro-batch of this process, in order: its seed, the generator, and what was drawn from it."""


def sample_micro_batches(
    objective: Objective, config: LoopConfig, device: torch.device, steps: Iterable[int]
) -> MicroBatches:
    """What `training_step` takes, drawn ahead."""
    samples, share = config.batch_size // config.micro_batches, micro_batch_range(config)
    seeds = (micro_batch_seed(config, step, number) for step in steps for number in share)
    return prefetch(lambda generator: objective.sample_batch(samples, generator), seeds, device)


def training_step(
    learner: Learner, config: LoopConfig, device: torch.device, step: int, micro_batches: MicroBatches
) -> dict[str, float]:
    """One optimiser step on the next micro-batches; what was logged.

    TrainingStopped, before the weights change, when anything is not finite.
    """
    rate = learner.prepare_step(step)
    share = micro_batch_range(config)
    dtype = runtime.autocast_dtype(device)
    found: list[dict[str, float]] = []
    ids: list[str] = []
    for _ in share:
        seed, generator, batch = next(micro_batches)
        torch.manual_seed(seed)  # of dropout, which asks no generator
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            losses, names = learner.loss_module(step, batch, device, generator)
        learner.backward(losses["loss"])
        found.append({name: float(value.detach()) for name, value in losses.items()})
        if all(map(math.isfinite, found[-1].values())):
            ids += names
        else:
            ids[:0] = names
    norm = learner.clip()
    mine = [sum(values) / len(share) for values in zip(*(terms.values() for terms in found), strict=True)]
    record = dict(zip(found[0], runtime.all_reduce_mean(mine), strict=True)) | {"grad_norm": norm, "lr": rate}
    if not all(map(math.isfinite, record.values())):
        terms = ", ".join(f"{name} {value:.3g}" for name, value in record.items())
        raise TrainingStopped(
            f"step {step}: not finite ({terms}) on samples {', '.join(ids[:8])}{' ...' if len(ids) > 8 else ''}; "
            "look at these samples or lower the learning rate. The last saved checkpoint is untouched"
        )
    learner.step()
    return record


def micro_batch_seed(config: LoopConfig, step: int, number: int) -> int:
    """Of all that a micro-batch draws."""
    return hash((config.seed, step, number) if number else (config.seed, step)) % 2**63


def _require_same_optimizers(path: Path, config: LoopConfig) -> None:
    """Rates and steps may change on the way; who trains which parameter may not, the moments would be mixed up."""
    if not path.is_file():
        return
    before = LoopConfig.load(path)
    for name, old, new in (
        ("optim.muon", list(before.optim.muon), list(config.optim.muon)),
        ("optim.freeze", list(before.optim.freeze), list(config.optim.freeze)),
        ("ema", before.ema, config.ema),
    ):
        if old != new:
            raise ValueError(f"{path}: this run began with {name} {old}, not {new}; resume with it")


def _recovery_hint(state_folder: Path) -> str:
    if state_folder.exists():
        return "what was saved before is untouched: free disk space, then --resume goes on from there"
    return "there is nothing to resume yet: free disk space or choose another --out, and start again"
