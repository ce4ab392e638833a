"""Results of an evaluation on the terminal: success rates, and the table of subtask metrics with its legend."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from wla.evaluation.subtask_rates import COLUMNS, REFERENCE, SubtaskRates
from wla.evaluation.summary import Summary
from wla.rollout.results import Rate

HEADING_WIDTH, CELL_WIDTH = 26, 20
"""Characters of the first column and, at most, of the other ones; a narrow terminal gets several tables."""


def print_summary(summary: Summary) -> None:
    """Prints the success rate of each task variant and of all, and the subtask metrics where there are any."""
    for (variant, rate), held in zip(summary.variants, summary.held[:-1], strict=True):
        print(f"{variant.task} {variant.setting} {variant.embodiment}: success rate {rate}{_held(held)}")
    if summary.groups is not None:
        for name, rate in summary.groups.rates:
            print(f"group {name}: success rate {rate}")
        print(f"groups: success rate {summary.groups}")
    print(f"all: success rate {summary.total}{_held(summary.held[-1])}")
    measured = [
        (f"{variant.task} {variant.setting}", rates)
        for (variant, _), rates in zip(summary.variants, summary.subtask_metrics, strict=True)
        if rates is not None
    ]
    if not measured:
        return
    console = Console(highlight=False)
    fitting = (console.width - HEADING_WIDTH) // CELL_WIDTH if console.is_terminal else len(measured)
    size = max(1, fitting)
    for start in range(0, len(measured), size):
        block = measured[start : start + size]
        print()
        Console(highlight=False, width=HEADING_WIDTH + CELL_WIDTH * len(block) + 100).print(_table(block))
    print()
    for text in (REFERENCE, *(f"{column.heading}: {column.explanation}" for column in COLUMNS)):
        print(textwrap.fill(text, width=110, initial_indent="  ", subsequent_indent="      "))
    print("  95 % intervals of these metrics: summary.json, report.html")


def _held(rate: Rate | None) -> str:
    return "" if rate is None else f"; held {rate}"


def _table(variants: Sequence[tuple[str, SubtaskRates]]) -> Table:
    table = Table("subtasks and memory", box=None, pad_edge=False)
    for name, _ in variants:
        table.add_column(name, justify="right", min_width=12, no_wrap=True)
    table.add_row("episodes / calls", *(f"{rates.episodes} / {rates.windows}" for _, rates in variants))
    for column in COLUMNS:
        table.add_row(column.heading, *(column.cell(rates).value for _, rates in variants))
    return table
