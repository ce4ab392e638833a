"""The metrics of an open-loop evaluation as text."""

from __future__ import annotations

from collections.abc import Sequence

from wla.evaluation.action_errors import DimensionError
from wla.evaluation.open_loop_metrics import OpenLoopMetrics


def summary(metrics: OpenLoopMetrics) -> str:
    """The metrics as text: the episodes, the errors of the actions, and the rates of subtasks and images."""
    lines = [f"{metrics.episodes} episodes, {metrics.calls} calls; {training(metrics)}"]
    if metrics.dimensions:
        lines += ["mean absolute error of the actions over whole chunks:", _table(metrics.dimensions)]
    if metrics.subtasks is not None and metrics.subtasks.edit_score is not None:
        lines.append(f"subtasks: edit score {metrics.subtasks.edit_score.estimate:.3f}")
    if metrics.psnr_gain is not None:
        lines.append(f"imagined images: {metrics.psnr_gain.mean:+.1f} dB against the current frame")
    lines += [f"not measured: {reason}" for reason in metrics.not_measured.values()]
    return "\n".join(lines)


def training(metrics: OpenLoopMetrics) -> str:
    """What is known of the episodes: whether the policy was trained on them."""
    if metrics.trained_episodes is None:
        return "which of them it was trained on is not known: its checkpoint does not say"
    return f"none of them in its training ({metrics.trained_episodes} others of the dataset are)"


def _table(dimensions: Sequence[DimensionError]) -> str:
    """Mean absolute errors over whole chunks, one line per dimension."""
    rows = [("dimension", "unit", "policy", "95 % by episode", "holding still", "mean action", "")]
    for each in dimensions:
        bounds = "" if each.policy.interval is None else each.policy.interval.bounds(scale=1.0, digits=4)
        verdict = "" if each.best else "not below both"
        baselines = (f"{each.hold_still:.4f}", f"{each.mean_action:.4f}")
        rows.append((each.name, each.unit, f"{each.policy.mean:.4f}", bounds, *baselines, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    below = sum(each.best for each in dimensions)
    return "\n".join([*lines, f"below both baselines: {below} of {len(dimensions)} dimensions"])
