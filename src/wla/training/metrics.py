"""The metrics log of a run: one JSON line per logged step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wla.json_lines import append_line, read_lines, write_lines

METRICS = "metrics.jsonl"
"""Log of a run, beside its generations (see `wla.run_folder`)."""
VALIDATION = "validation/"
"""Prefix of the metrics on held-out episodes."""


def log_step(metrics: Path, step: int, record: Mapping[str, float]) -> None:
    """Appends the record of a step to the log."""
    append_line(metrics, {"step": step, **record})


def read_metrics(metrics: Path) -> list[dict[str, Any]]:
    """Returns the records of a log, without an incomplete last line; none when there is no log.

    ValueError, with its number, for a line that is not a record with a step.
    """
    rows = read_lines(metrics)
    for number, row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise ValueError(f"{metrics}:{number} has no step; remove the line")
    return [row for _, row in rows]


def keep_lines_before(metrics: Path, step: int) -> None:
    """Drops the lines of `step` and later, and an incomplete last line: a killed run may have logged steps after its
    last save, which are repeated. ValueError for a damaged line."""
    if metrics.exists():
        write_lines(metrics, [row for row in read_metrics(metrics) if row["step"] < step])
