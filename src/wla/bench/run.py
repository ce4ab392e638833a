"""All benchmarks in one go: what is measured, the table beside the stored figures, and the line that is stored."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch

from wla import runtime
from wla.bench.configs import BenchConfig
from wla.bench.parts import measure
from wla.bench.results import Results, as_dict
from wla.bench.stored import last_rows, machine, stored_file
from wla.bench.table import show
from wla.bench.timing import Budget
from wla.files import disk_errors
from wla.json_lines import append_line
from wla.progress import note

HINT = "name another file with --out"


def run_benchmarks(config: BenchConfig) -> Results:
    """Measures, prints a table beside the stored figures and every comparison, and stores the line.

    ValueError when the policy is not there or the line cannot be written.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    path = config.out or stored_file()
    before = last_rows(path)
    require_writable(path)
    results, budget, device = Results(), Budget.of(60 * config.minutes), runtime.device()
    parts = ("load", "train", "act") if config.part == "all" else (config.part,)
    for number, part in enumerate(parts):
        note(f"wla bench: {part}, {budget.left / 60:.1f} minutes left")
        measure(part, results, config, budget.share(1 / (len(parts) - number)), device)
    show(results, before)
    if path is not None:
        with disk_errors(path, HINT):
            append_line(path, line(results, config))
        print(f"stored in {path}")
    return results


def require_writable(path: Path | None) -> None:
    """ValueError, before anything is measured, when the line could not be written."""
    if path is not None:
        with disk_errors(path, HINT):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("ab").close()


def line(results: Results, config: BenchConfig) -> dict[str, object]:
    """What is stored: command, figures, machine."""
    return {"command": command_line(config), **as_dict(results), **machine()}


def command_line(config: BenchConfig) -> str:
    """The `wla bench` of a configuration."""
    words = ["wla", "bench", config.part]
    for name, field in BenchConfig.model_fields.items():
        value = getattr(config, name)
        if name not in ("part", "out") and value != field.default:
            option = f"--{name.replace('_', '-')}"
            words += [option] if value is True else [option, str(value)]
    return shlex.join(words)
