"""The folder of an open-loop evaluation: metrics, drawings of the actions, and the table that is printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wla.evaluation.action_errors import ActionErrors, DimensionError
from wla.evaluation.action_plots import draw_episode, draw_errors
from wla.evaluation.open_loop_metrics import OpenLoopMetrics
from wla.files import atomic_write_text, disk_errors
from wla.specs import ActionSpec

METRICS_FILE, ERRORS_FILE = "offline.json", "errors.png"
MAX_DRAWN = 12
"""Episodes that are drawn, the first ones."""


def episode_file(index: int) -> str:
    return f"episode_{index:06d}.png"


def write_results(out: Path, metrics: OpenLoopMetrics, spec: ActionSpec, actions: ActionErrors | None) -> None:
    """Writes metrics and drawings. ValueError when the disk refuses."""
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        atomic_write_text(out / METRICS_FILE, metrics.to_json() + "\n")
        if actions is None or not metrics.dimensions:
            return
        draw_errors(out / ERRORS_FILE, metrics.dimensions)
        for index in list(actions.episodes)[:MAX_DRAWN]:
            recorded, start = actions.recorded_episode(index)
            chunks = actions.episodes[index].chunks
            held = {step: actions.hold_still(start + step) for step in chunks}
            draw_episode(out / episode_file(index), spec, recorded, chunks, held, actions.mean_action)


def summary(metrics: OpenLoopMetrics) -> str:
    """The metrics as text: the episodes, the errors of the actions, and the rates of subtasks and images."""
    trained = "which of them it was trained on is not known: its checkpoint does not say"
    if metrics.trained_episodes is not None:
        trained = f"none of them in its training ({metrics.trained_episodes} others of the dataset are)"
    lines = [f"{metrics.episodes} episodes, {metrics.calls} calls; {trained}"]
    if metrics.dimensions:
        lines += ["mean absolute error of the actions over whole chunks:", _table(metrics.dimensions)]
    if metrics.subtasks is not None and metrics.subtasks.edit_score is not None:
        lines.append(f"subtasks: edit score {metrics.subtasks.edit_score.estimate:.3f}")
    if metrics.psnr_gain is not None:
        lines.append(f"imagined images: {metrics.psnr_gain.mean:+.1f} dB against the current frame")
    lines += [f"not measured: {reason}" for reason in metrics.not_measured.values()]
    return "\n".join(lines)


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
