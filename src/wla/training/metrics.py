"""The log of a run: a line of JSON for each logged step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wla.files import atomic_write_text


def append_line(metrics: Path, record: dict[str, Any]) -> None:
    with metrics.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def keep_lines_before(metrics: Path, step: int) -> None:
    """Drop what a killed run logged after its last save, half a line included; these steps are run again."""
    if metrics.exists():
        text = metrics.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
        try:
            kept = [line for line in lines if json.loads(line)["step"] < step]
        except json.JSONDecodeError as error:
            raise ValueError(f"{metrics}: damaged line {error.doc.strip()[:80]!r}; remove it") from error
        atomic_write_text(metrics, "".join(kept))
