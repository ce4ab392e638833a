"""The training loop: it steps an `Objective`, logs, saves, resumes and stops cleanly.

`wla.training.step` computes a step, `wla.training.saving` stores what it made; `train` repeats that.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

from wla import runtime
from wla.files import disk_errors
from wla.progress import LoopProgress
from wla.run_folder import checkpoint_folder, state_folder
from wla.training.learner import Learner
from wla.training.metrics import keep_lines_before, log_step
from wla.training.objective import LoopConfig, Objective
from wla.training.plots import plot_metrics
from wla.training.saving import (
    DISK_HINT,
    output_dir,
    recovery_hint,
    require_same_run,
    save_generation,
    save_settings,
)
from wla.training.step import build_learner, micro_batch_range, sample_micro_batches, training_step

METRICS = "metrics.jsonl"
"""Log of a run, beside its generations (see `wla.run_folder`)."""
_RANGES_STAY = "its ranges of states and actions stay as they were"


def train(objective: Objective, config: LoopConfig, out: Path, *, resume: bool = False) -> Path:
    """Trains, and returns the folder of the final checkpoint.

    Ctrl-C finishes the current step, saves, and raises KeyboardInterrupt; the same call with resume=True continues.
    Several processes (see `runtime.process_group`) all call it with the same arguments. ValueError when `out` cannot be
    written or holds a different run, TrainingStopped when a loss or gradient is not finite.
    """
    micro_batch_range(config)
    with output_dir(out, resume=resume):
        device = runtime.device(config.device)
        state = state_folder(out) if resume else None
        if state is not None:
            require_same_run(out, config, objective.config)
            if objective.resume(checkpoint_folder(out)) and runtime.rank() == 0:
                print(f"{out}: the datasets have changed since this run was started; {_RANGES_STAY}", file=sys.stderr)
        learner = build_learner(objective, config, device)
        start = 0 if state is None else learner.load(state)
        runtime.on_rank_zero(lambda: _write_settings(objective, config, out, start))
        _run_steps(objective, learner, config, out, start)
        return checkpoint_folder(out)


def _write_settings(objective: Objective, config: LoopConfig, out: Path, start: int) -> None:
    with disk_errors(out, DISK_HINT):
        keep_lines_before(out / METRICS, start)
        save_settings(out, config, objective.config)


def _run_steps(objective: Objective, learner: Learner, config: LoopConfig, out: Path, start: int) -> None:
    device, metrics = runtime.device(config.device), out / METRICS

    def log(step: int, record: dict[str, float]) -> None:
        with disk_errors(out, recovery_hint(out)):
            runtime.on_rank_zero(lambda: log_step(metrics, step, record))

    def save(step: int) -> None:
        weights = learner.weights()
        with disk_errors(out, recovery_hint(out)):
            save_generation(
                out,
                step,
                keep=config.keep,
                write_checkpoint=lambda folder: objective.save(folder, step, weights),
                write_state=lambda folder: learner.save(folder, step),
            )
            runtime.on_rank_zero(lambda: plot_metrics(metrics))

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
