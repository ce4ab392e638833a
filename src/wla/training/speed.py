"""Speed of training: throughput of a run with MFU, and a profile of a few steps: a trace and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from wla import runtime
from wla.files import atomic_file, disk_errors
from wla.hardware import peak_bf16_flops
from wla.training.model_flops import ModelFlops

FOLDER, TRACE, TABLE = "profile", "trace.json", "table.txt"
"""Folder of a run with its profile; the trace is for chrome://tracing or ui.perfetto.dev."""
WARM_UP = 3
"""Steps before the profiled ones, which allocate."""
PHASES = ("batches", "forward", "backward", "clip", "update")
"""Parts of a step, as `torch.profiler.record_function` names them in it."""
OPERATORS = 15
"""Rows of the table about single operators."""
HINT = "free disk space or choose another --out; without --profile nothing is written there"


class Throughput:
    """Means since the beginning of a run. batch_size: samples of a step, over all processes."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._batch_size, self._steps, self._counter = batch_size, 0, ModelFlops()
        self._peak = peak_bf16_flops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self._began = time.perf_counter()

    @property
    def counter(self) -> ModelFlops | None:
        """Context of a step's forward and backward passes: those of the first step are counted and stand for all."""
        return None if self._steps else self._counter

    def step_done(self) -> dict[str, float]:
        """Counts a step; returns the metrics by name. FLOPs, and their fraction of the peak, are those of one
        device."""
        self._steps += 1
        rate = self._steps / (time.perf_counter() - self._began)
        flops = self._counter.total * rate
        found = {"samples_per_s": self._batch_size * rate}
        if flops:
            found["model_tflop_per_s"] = flops / 1e12
        return found | {"mfu": flops / self._peak} if flops and self._peak is not None else found


def require_profiled(count: int | None, steps: int, out: Path) -> None:
    """ValueError, before anything costly, when a run of `steps` steps has no `count` to profile or cannot write."""
    if count is None:
        return
    if count + WARM_UP > steps:
        raise ValueError(
            f"--profile {count}: profiles steps {WARM_UP + 1} to {WARM_UP + count}, and {steps} are left; give fewer"
        )
    if runtime.rank() == 0:
        with disk_errors(out / FOLDER, HINT):
            (out / FOLDER).mkdir(parents=True, exist_ok=True)


@contextmanager
def profiled_steps(count: int | None, out: Path) -> Iterator[Callable[[], None]]:
    """Context of a training loop, which calls what it gets after each step.

    After `count` steps that follow the first ones, process 0 writes trace and table into the run's folder and prints
    the table. None profiles nothing. ValueError when the folder cannot be written.
    """
    if count is None or runtime.rank() > 0:
        yield lambda: None
        return
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    plan = schedule(wait=0, warmup=WARM_UP, active=count, repeat=1)
    with profile(
        activities=activities, schedule=plan, on_trace_ready=lambda found: _write(found, count, out)
    ) as running:
        yield running.step


def _write(found: profile, count: int, out: Path) -> None:
    folder = out / FOLDER
    text = table(found, count)
    with disk_errors(folder, HINT):
        with atomic_file(folder / TRACE) as partial:
            found.export_chrome_trace(str(partial))
        with atomic_file(folder / TABLE) as partial:
            partial.write_text(text, encoding="utf-8")
    print(f"{text}trace: {folder / TRACE} (open it in ui.perfetto.dev)", flush=True)


def table(found: profile, count: int) -> str:
    """Time of a mean step by phase and by operator, on the host and, with a GPU, on the device."""
    averages = found.key_averages()
    device = torch.cuda.is_available()
    rows = {row.key: row for row in averages if row.key in PHASES}
    lines = [f"{'phase':<12}{'host ms':>10}{'device ms' if device else '':>12}   (mean of {count} steps)"]
    for name in PHASES:
        if name in rows:
            on_device = f"{rows[name].device_time_total / count / 1000:.2f}" if device else ""
            lines.append(f"{name:<12}{rows[name].cpu_time_total / count / 1000:>10.2f}{on_device:>12}")
    by = "self_device_time_total" if device else "self_cpu_time_total"
    return "\n".join([*lines, "", averages.table(sort_by=by, row_limit=OPERATORS, max_name_column_width=50), ""])
