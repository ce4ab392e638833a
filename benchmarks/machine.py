"""Where a figure was measured; written beside every one."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path


def store(name: str, metrics: dict[str, object]) -> None:
    """Print the figures and append them, with date and machine, to benchmarks/NAME.jsonl."""
    line = {**metrics, "date": datetime.date.today().isoformat(), **machine()}
    print(json.dumps(line, indent=2))
    with (Path(__file__).parent / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def machine() -> dict[str, object]:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": version("torch"),
        "mujoco": version("mujoco"),
    }
