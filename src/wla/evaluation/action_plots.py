"""Drawings of predicted actions: errors per dimension beside the baselines, and the curves of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from jaxtyping import Float32

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from wla.evaluation.action_errors import DimensionError
from wla.specs import ActionSpec

POLICY, HOLD, MEAN = "#1f77b4", "#999999", "#d6a85a"


def draw_errors(path: Path, dimensions: Sequence[DimensionError]) -> None:
    """A group of bars per dimension, relative to the larger baseline: policy, holding still, mean action."""
    figure, axis = plt.subplots(figsize=(max(4.0, 1.1 * len(dimensions)), 3.2))
    scale = np.array([max(each.hold_still, each.mean_action) or 1.0 for each in dimensions])
    rows = {
        "policy": ([each.policy.mean for each in dimensions], POLICY),
        "holding still": ([each.hold_still for each in dimensions], HOLD),
        "mean action": ([each.mean_action for each in dimensions], MEAN),
    }
    for index, (label, (values, colour)) in enumerate(rows.items()):
        positions = np.arange(len(dimensions)) + 0.27 * (index - 1)
        axis.bar(positions, np.array(values) / scale, 0.25, label=label, color=colour)
    axis.set_xticks(range(len(dimensions)), [each.name for each in dimensions], rotation=30, ha="right")
    axis.set_ylabel("mean absolute error,\nfraction of the larger baseline")
    axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_episode(
    path: Path,
    spec: ActionSpec,
    recorded: Float32[np.ndarray, "T A"],
    chunks: Mapping[int, Float32[np.ndarray, "n A"]],
    held: Mapping[int, Float32[np.ndarray, " A"]],
    mean_action: Float32[np.ndarray, " A"],
) -> None:
    """The recorded actions of an episode and the chunks that were predicted at its calls, a panel per dimension.

    chunks: step of a call -> predicted actions. held: step of a call -> the action that holds still there.
    """
    columns = min(3, spec.dim)
    rows = -(-spec.dim // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 2.3 * rows), squeeze=False)
    steps = np.arange(len(recorded))
    for index, axis in enumerate(axes.flat):
        if index >= spec.dim:
            axis.set_visible(False)
            continue
        axis.axhline(mean_action[index], color=MEAN, lw=1, ls=":", label="mean action")
        axis.plot(steps, recorded[:, index], color="black", lw=1.2, label="recorded")
        for number, (step, chunk) in enumerate(chunks.items()):
            shown = steps[step : step + len(chunk)]
            label = {"label": "predicted"} if number == 0 else {}
            axis.plot(shown, chunk[: len(shown), index], color=POLICY, lw=1, alpha=0.8, **label)
            axis.plot(step, chunk[0, index], ".", color=POLICY, ms=4)
            label = {"label": "holding still"} if number == 0 else {}
            axis.hlines(held[step][index], step, step + len(shown) - 1, color=HOLD, lw=0.8, ls="--", **label)
        axis.set_title(f"{spec.names[index]} ({spec.units[index]})", fontsize="small")
        axis.tick_params(labelsize="x-small")
    axes[0, 0].legend(fontsize="xx-small")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
