"""Plots of a run's logged losses."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from wla.training.metrics import read_metrics

SKIPPED = {"step", "lr", "samples_per_s"}


def plot_metrics(metrics: Path) -> Path | None:
    """Plots every logged term over the steps into `metrics.png` beside the file and returns that path.

    Returns None when nothing has been logged yet.
    """
    rows = read_metrics(metrics)
    if not rows:
        return None
    names = [name for name in rows[-1] if name not in SKIPPED]
    figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        steps = np.array([row["step"] for row in rows if name in row])
        values = np.array([row[name] for row in rows if name in row])
        axis.plot(steps, values, lw=0.5, alpha=0.4)
        window = max(1, len(values) // 50)
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        axis.plot(steps[len(steps) - len(smooth) :], smooth, lw=1.5)
        axis.set_title(name)
        axis.set_xlabel("step")
        if (values > 0).all():
            axis.set_yscale("log")
    figure.tight_layout()
    path = metrics.with_suffix(".png")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
