"""Sinks of a run's metrics: JSON lines and their plot, lines for a log file, TensorBoard, Weights & Biases.

The last two are optional (`pip install tensorboard wandb`). A resumed run continues the same curves in each.
"""

from __future__ import annotations

import importlib
import secrets
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from wla.files import atomic_write_text, sync
from wla.training.configs import LoopConfig, WandbConfig
from wla.training.metrics import METRICS, VALIDATION, keep_lines_before, log_step
from wla.training.plots import plot_metrics

TENSORBOARD, WANDB_ID = "tensorboard", "wandb_id"
"""Folder of a run with its events, and file with the identity of its curves at Weights & Biases."""
PLOT_INTERVAL_S = 60.0
"""Least time between two drawings of a run's plot; the end is always drawn."""


class Sink(Protocol):
    """A receiver of metrics."""

    def log(self, step: int, record: Mapping[str, float]) -> None:
        """Receives the metrics of a step."""
        ...

    def sync(self) -> None:
        """Is called before each save: what was logged outlives a loss of power, as the save will."""
        ...

    def flush(self) -> None:
        """Is called after each save."""
        ...

    def close(self) -> None:
        """Is called at the end, also after an error."""
        ...


class JsonLines:
    """The file metrics.jsonl, one line per record, and its plot. Lines of `start` and later are dropped first."""

    def __init__(self, out: Path, start: int) -> None:
        self._file = out / METRICS
        self._plotted_at, self._plotted = time.monotonic(), True
        keep_lines_before(self._file, start)

    def log(self, step: int, record: Mapping[str, float]) -> None:
        log_step(self._file, step, record)
        self._plotted = False

    def sync(self) -> None:
        sync(self._file)

    def flush(self) -> None:
        """Draws the plot, unless that was done, or the run began, a short time ago: where saves are frequent, it would
        take longer than the training between them."""
        if time.monotonic() - self._plotted_at >= PLOT_INTERVAL_S:
            self._plot()

    def close(self) -> None:
        if not self._plotted:
            with suppress(OSError):  # the error that ended the run, or none: the plot is not worth another one
                self._plot()

    def _plot(self) -> None:
        plot_metrics(self._file)
        self._plotted_at, self._plotted = time.monotonic(), True


class LogLines:
    """A line on stdout per record, where no progress bar can be seen: in a file, a pipe or a scheduler's log."""

    def __init__(self, total: int, start: int) -> None:
        self._total, self._start, self._start_time = total, start, time.perf_counter()
        self._hidden = sys.stdout.isatty() and sys.stderr.isatty()

    def log(self, step: int, record: Mapping[str, float]) -> None:
        if self._hidden:
            return
        done = step + 1
        seconds = (time.perf_counter() - self._start_time) * (self._total - done) / (done - self._start)
        names = ("loss", "lr", *(name for name in record if name == "reward" or name.startswith(VALIDATION)))
        values = "  ".join(f"{name} {record[name]:.4g}" for name in names)
        rate = f"{record['samples_per_s']:.3g} samples/s  ETA {timedelta(seconds=round(seconds))}"
        print(f"step {done}/{self._total}  {values}  {rate}", flush=True)

    def sync(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class TensorBoard:
    """Events in RUN/tensorboard; those of `start` and later, which a killed run left, are hidden."""

    def __init__(self, out: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(out / TENSORBOARD, purge_step=start or None)

    def log(self, step: int, record: Mapping[str, float]) -> None:
        for name, value in record.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def sync(self) -> None:
        pass

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run at Weights & Biases, whose identity stays with the folder. ValueError when it cannot be opened."""

    def __init__(self, config: WandbConfig, out: Path, start: int, recipe: Mapping[str, Any]) -> None:
        import wandb

        identity = out / WANDB_ID
        if not start or not identity.is_file():
            atomic_write_text(identity, secrets.token_hex(4) + "\n")
        try:
            self._run = wandb.init(
                project=config.project,
                entity=config.entity,
                name=config.name or out.resolve().name,
                id=identity.read_text(encoding="utf-8").strip(),
                resume="allow",
                dir=out,
                config=dict(recipe),
                settings=wandb.Settings(console="off"),
            )
        except wandb.errors.Error as error:
            raise ValueError(
                f"loop.wandb: {' '.join(str(error).split())}; run `wandb login`, or set WANDB_MODE=offline"
            ) from error

    def log(self, step: int, record: Mapping[str, float]) -> None:
        self._run.log(dict(record), step=step)

    def sync(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._run.finish()


def require_installed(config: LoopConfig) -> None:
    """Raises ModuleNotFoundError, before anything costly, when the package of a chosen sink is absent."""
    for chosen, module in ((config.tensorboard, "tensorboard"), (config.wandb is not None, "wandb")):
        if chosen:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ModuleNotFoundError(f"loop.{module} needs {module}: pip install {module}") from error


class Sinks:
    """All sinks of a run; none before they are opened, as in other processes than the first."""

    def __init__(self) -> None:
        self._opened: list[Sink] = []

    def open(self, config: LoopConfig, out: Path, *, start: int, recipe: Mapping[str, Any]) -> None:
        """Opens the sinks of a run that continues at step `start`. ValueError when one cannot be opened.

        recipe: the configuration that is trained, for sinks that show it.
        """
        self._opened.append(JsonLines(out, start))
        self._opened.append(LogLines(config.optim.steps, start))
        if config.tensorboard:
            self._opened.append(TensorBoard(out, start))
        if config.wandb is not None:
            self._opened.append(Wandb(config.wandb, out, start, recipe))

    def log(self, step: int, record: Mapping[str, float]) -> None:
        for sink in self._opened:
            sink.log(step, record)

    def sync(self) -> None:
        for sink in self._opened:
            sink.sync()

    def flush(self) -> None:
        for sink in self._opened:
            sink.flush()

    def close(self) -> None:
        for sink in self._opened:
            sink.close()
