"""Plots of a run's logged losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from wla.training.metrics import VALIDATION, read_metrics

SKIPPED = {"step", "lr", "samples_per_s", "model_tflop_per_s", "mfu"}
LINEAR = ("psnr", "accuracy", "reward", "success", "fraction", "spread", "ratio", "calls")
"""Endings of the names of metrics with a linear axis: logarithms, fractions and rewards. Losses, errors and norms fall
by orders of magnitude, and get a logarithmic one."""


class PlainLogFormatter(LogFormatter):
    """Labels the ticks that matplotlib chooses with plain numbers: setting its powers of ten as formulas takes longer
    than all the rest of a plot."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def plot_metrics(metrics: Path) -> Path | None:
    """Plots every logged term over the steps into `metrics.png` beside the file and returns that path.

    A term on held-out episodes is in the panel of the same term in training. Returns None when nothing has been logged
    yet.
    """
    rows = read_metrics(metrics)
    names = list(dict.fromkeys(name.removeprefix(VALIDATION) for row in rows for name in row if name not in SKIPPED))
    if not names:
        return None
    figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        plot_term(axis, rows, name)
    figure.tight_layout()
    path = metrics.with_suffix(".png")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def plot_term(axis: Axes, rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """Draws one term: its values and their moving average in training, and the values on held-out episodes."""
    steps, values = _curve(rows, name)
    if len(values):
        axis.plot(steps, values, lw=0.5, alpha=0.4)
        window = max(1, len(values) // 50)
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        axis.plot(steps[len(steps) - len(smooth) :], smooth, lw=1.5, label="training")
    held_out_steps, held_out = _curve(rows, VALIDATION + name)
    if len(held_out):
        axis.plot(held_out_steps, held_out, "o-", ms=3, lw=1, color="black", label="validation")
        axis.legend(fontsize="small")
    axis.set_title(name)
    axis.set_xlabel("step")
    drawn = np.concatenate([values, held_out])
    if not name.endswith(LINEAR) and (drawn > 0).all():
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(PlainLogFormatter())
        axis.yaxis.set_minor_formatter(PlainLogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.4)))


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    found = [(row["step"], row[name]) for row in rows if name in row]
    return np.array([step for step, _ in found]), np.array([value for _, value in found], float)
