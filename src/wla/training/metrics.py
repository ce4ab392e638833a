"""The metrics log of a run (one JSON line per logged step) and its progress bar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wla.files import atomic_write_text


def append_line(metrics: Path, record: dict[str, Any]) -> None:
    """Appends a record as one line of JSON."""
    with metrics.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def keep_lines_before(metrics: Path, step: int) -> None:
    """Drops the lines of `step` and later, and an incomplete last line: a killed run may have logged steps after its
    last save, which are repeated. ValueError for a damaged line."""
    if metrics.exists():
        text = metrics.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
        try:
            kept = [line for line in lines if json.loads(line)["step"] < step]
        except json.JSONDecodeError as error:
            raise ValueError(f"{metrics}: damaged line {error.doc.strip()[:80]!r}; remove it") from error
        atomic_write_text(metrics, "".join(kept))
