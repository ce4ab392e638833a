"""The training loop: it steps an `Objective`, logs, saves, resumes and stops cleanly.

`wla.training.step` computes a step, `wla.training.saving` stores what it made; `train` repeats that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from wla import runtime
from wla.progress import LoopProgress
from wla.run_folder import checkpoint_folder, state_folder
from wla.training import AnyObjective, LoopConfig, OnPolicyObjective
from wla.training.learner import Learner
from wla.training.saving import (
    output_dir,
    report_changed_data,
    require_same_run,
    save_generation,
    save_settings,
    write_errors,
)
from wla.training.sinks import Sinks, require_installed
from wla.training.speed import Throughput, profiled_steps, require_profiled
from wla.training.step import build_learner, micro_batch_range, perform_steps
from wla.training.validation import LOSS, AnyValidation, BestCheckpoint, require_validation, validate


def train(
    objective: AnyObjective, config: LoopConfig, out: Path, *, resume: bool = False, profile: int | None = None
) -> Path:
    """Trains, and returns the folder of the final checkpoint. profile: number of steps to profile.

    Ctrl-C finishes the current step, saves, and raises KeyboardInterrupt; the same call with resume=True continues.
    Several processes (see `runtime.process_group`) all call it with the same arguments. ValueError when `out` cannot be
    written or holds a different run, TrainingStopped when a loss or gradient is not finite.
    """
    validation = require_trainable(objective, config)
    with output_dir(out, resume=resume):
        device = runtime.device(config.device)
        state = state_folder(out) if resume else None
        if state is not None:
            require_same_run(out, config, objective.config)
            ranges_changed = objective.resume(checkpoint_folder(out))
            runtime.on_rank_zero(lambda: report_changed_data(out, objective.config, ranges_changed))
        if runtime.rank() == 0 and objective.description:
            print(objective.description, flush=True)
        learner = build_learner(objective, config, device)
        start = 0 if state is None else learner.load(state)
        require_profiled(profile, config.optim.steps - start, out)
        with closing(Sinks()) as sinks:
            runtime.on_rank_zero(lambda: _open(sinks, objective, config, out, start))
            with profiled_steps(profile, out) as profiled:
                _run_steps(objective, learner, config, out, start, sinks, validation, profiled)
        return checkpoint_folder(out)


def require_trainable(objective: AnyObjective, config: LoopConfig) -> AnyValidation | None:
    """Returns the held-out episodes that are asked for. ValueError, before anything costly, where `train` refuses."""
    micro_batch_range(config)
    require_installed(config)
    return require_validation(objective, config)


def _open(sinks: Sinks, objective: AnyObjective, config: LoopConfig, out: Path, start: int) -> None:
    with write_errors(out, started=False):
        save_settings(out, config, objective.config, started=not start)
        sinks.open(config, out, start=start, recipe=objective.config.model_dump(mode="json"))


def _run_steps(
    objective: AnyObjective,
    learner: Learner,
    config: LoopConfig,
    out: Path,
    start: int,
    sinks: Sinks,
    validation: AnyValidation | None,
    profiled: Callable[[], None],
) -> None:
    device, best = runtime.device(config.device), BestCheckpoint(out)

    def log(step: int, record: dict[str, float]) -> None:
        with write_errors(out, started=True):
            runtime.on_rank_zero(lambda: sinks.log(step, record))

    def save(step: int) -> None:
        weights = learner.weights()
        with write_errors(out, started=True):
            runtime.on_rank_zero(sinks.sync)  # first, because a resumed run finds the best save by its line
            save_generation(
                out,
                step,
                keep=config.keep,
                write_checkpoint=lambda folder: objective.save(folder, step, weights),
                write_state=lambda folder: learner.save(folder, step),
            )
            runtime.on_rank_zero(sinks.flush)

    progress = LoopProgress(
        config.optim.steps, completed=start, description="training", disable=runtime.rank() > 0, lines=False
    )
    samples = objective.episodes if isinstance(objective, OnPolicyObjective) else config.batch_size
    throughput, steps = Throughput(samples, device), range(start, config.optim.steps)
    records = perform_steps(objective, learner, config, device, steps, lambda: throughput.counter)
    with runtime.defer_signals() as interrupted, progress, closing(records):
        for step in steps:
            record = next(records)
            record |= throughput.step_done()
            profiled()
            done = step + 1
            last = done == config.optim.steps
            validated = validation is not None and (last or done % (config.validation_every or 1) == 0)
            if validation is not None and validated:
                record |= validate(learner, validation, config, device)
            if validated or last or step % config.log_every == 0:
                log(step, record)
            progress.advance(f"loss {record['loss']:.4f}")
            stop, improved = runtime.all_reduce_any(interrupted()), best.improves(record)
            if stop or last or improved or done % config.save_every == 0:
                save(done)
            if improved:
                best.move(done, record[LOSS])
            if stop:
                raise KeyboardInterrupt(f"training stopped after step {done}, saved in {out}; --resume continues")
