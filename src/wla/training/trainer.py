"""The training loop. What is trained is a `Task`; the loop steps, logs, saves, resumes and stops cleanly.

Every step is a function of (weights, optimiser, step number): batches and noise are drawn from generators seeded
with the step. So resuming continues bit for bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.files import disk_errors, restore, write_whole
from wla.training.optim import OptimConfig, build_optimizers, schedule
from wla.training.plots import plot_metrics
from wla.training.resume import load_training_state, save_training_state

CHECKPOINT, STATE, METRICS, LOOP = "checkpoint", "training_state", "metrics.jsonl", "loop.json"
_NO_ROOM = "free disk space or choose another --out"


class LoopConfig(Config):
    """How to train, whatever is trained."""

    optim: OptimConfig
    batch_size: int = 64
    seed: int = 0
    save_every: int = 500
    log_every: int = 10
    device: str | None = None


StepLosses = tuple[dict[str, Tensor], list[str]]
"""Loss terms of a step's batch ("loss" is minimised, the others are logged) and the ids of its samples."""


class Task(Protocol):
    """Something to train: a module, its batches, its loss, and how to save it for use."""

    @property
    def module(self) -> nn.Module: ...

    def losses(self, step: int, device: torch.device, generator: torch.Generator) -> StepLosses:
        """Forward pass of one step; all randomness comes from the generator."""
        ...

    def save(self, folder: Path, step: int) -> None:
        """Write a usable checkpoint."""
        ...


class TrainingStopped(ValueError):
    """A run that must not go on; the message says why and what was kept."""


def require_room(out: Path, *, resume: bool) -> None:
    """ValueError when a run cannot be written to `out`; asked before minutes go into building what is to be trained."""
    checkpoint, state_folder = out / CHECKPOINT, out / STATE
    for folder in (checkpoint, state_folder):
        restore(folder)
    if resume:
        if not state_folder.exists():
            raise ValueError(f"{out}: nothing to resume here; start without --resume")
    elif state_folder.exists():
        raise ValueError(f"{out} holds a run already: continue it with --resume or choose another --out")
    elif checkpoint.exists():
        raise ValueError(f"{out} holds a checkpoint and no state to resume: move it away or choose another --out")
    with disk_errors(out, _NO_ROOM):
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass


def train(task: Task, config: LoopConfig, out: Path, *, resume: bool = False) -> Path:
    """Train and return the folder of the final checkpoint, `out/checkpoint`.

    Ctrl-C finishes the running step, saves, and raises KeyboardInterrupt; the same call with resume=True continues.
    """
    require_room(out, resume=resume)
    checkpoint, state_folder, metrics = out / CHECKPOINT, out / STATE, out / METRICS
    device = runtime.device(config.device)
    module = task.module.to(device).train()
    optimizers = build_optimizers(config.optim, module)
    start = 0
    if resume:
        _require_same_optimizers(out / LOOP, config.optim)
        start = load_training_state(state_folder, module, optimizers)
    with disk_errors(out, _NO_ROOM):
        _keep_lines_before(metrics, start)
        config.save(out / LOOP)

    def save(step: int) -> None:
        task.save(checkpoint, step)
        save_training_state(state_folder, module, optimizers, step)
        plot_metrics(metrics)

    with runtime.interrupts_held() as interrupted, _progress() as progress:
        bar = progress.add_task("training", total=config.optim.steps, completed=start, loss="")
        began, last_saved = time.perf_counter(), start
        for step in range(start, config.optim.steps):
            record = training_step(task, module, optimizers, config, device, step)
            seconds = time.perf_counter() - began
            record["samples_per_s"] = (step + 1 - start) * config.batch_size / seconds
            if step % config.log_every == 0 or step + 1 == config.optim.steps:
                with disk_errors(out, _way_out(state_folder)):
                    _append_line(metrics, {"step": step, **record})
                progress.update(bar, loss=f"loss {record['loss']:.4f}")
            progress.update(bar, completed=step + 1)
            stop = interrupted()
            if stop or (step + 1) % config.save_every == 0 or step + 1 == config.optim.steps:
                with disk_errors(out, _way_out(state_folder)):
                    save(step + 1)
                last_saved = step + 1
            if stop:
                raise KeyboardInterrupt(f"training stopped after step {last_saved}, saved in {out}; --resume continues")
    return checkpoint


def training_step(
    task: Task,
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    config: LoopConfig,
    device: torch.device,
    step: int,
) -> dict[str, float]:
    """One optimiser step; what was logged. TrainingStopped, before the weights change, when anything is not finite."""
    rate = schedule(config.optim, step)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["peak"]
    generator = torch.Generator().manual_seed(hash((config.seed, step)) % 2**63)
    dtype = runtime.autocast_dtype(device)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        losses, ids = task.losses(step, device, generator)
    losses["loss"].backward()
    norm = nn.utils.clip_grad_norm_(module.parameters(), config.optim.clip)
    record = {name: float(value.detach()) for name, value in losses.items()} | {
        "grad_norm": float(norm),
        "lr": rate * config.optim.learning_rate,
    }
    if not all(map(_finite, record.values())):
        terms = ", ".join(f"{name} {value:.3g}" for name, value in record.items())
        raise TrainingStopped(
            f"step {step}: not finite ({terms}) on samples {', '.join(ids[:8])}{' ...' if len(ids) > 8 else ''}; "
            "look at these samples or lower the learning rate. The last saved checkpoint is untouched"
        )
    for optimizer in optimizers:
        optimizer.step()
    return record


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def _append_line(metrics: Path, record: dict[str, Any]) -> None:
    with metrics.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _keep_lines_before(metrics: Path, step: int) -> None:
    """Drop what a killed run logged after its last save, half a line included; these steps are run again."""
    if metrics.exists():
        text = metrics.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
        try:
            kept = [line for line in lines if json.loads(line)["step"] < step]
        except json.JSONDecodeError as error:
            raise ValueError(f"{metrics}: damaged line {error.doc.strip()[:80]!r}; remove it") from error
        write_whole(metrics, "".join(kept))


def _require_same_optimizers(path: Path, optim: OptimConfig) -> None:
    """Rates and steps may change on the way; who trains which matrix may not, their moments would be mixed up."""
    if path.is_file() and (before := LoopConfig.load(path).optim.muon) != optim.muon:
        raise ValueError(
            f"{path}: this run began with optim.muon {list(before)}, not {list(optim.muon)}; resume with it"
        )


def _way_out(state_folder: Path) -> str:
    if state_folder.exists():
        return "what was saved before is untouched: free disk space, then --resume goes on from there"
    return "there is nothing to resume yet: free disk space or choose another --out, and start again"


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())
