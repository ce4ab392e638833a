"""`wla compare-runs`: two evaluations on the terminal, episode by episode; parsing and printing only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from wla.cli.command import CliArgs, Command

if TYPE_CHECKING:
    from wla.evaluation.paired import Episode, Key, PairedRow
    from wla.evaluation.reproduce import Reproduction
    from wla.rollout.results import Rate

MAX_LISTED = 40
"""Episodes that are listed; `wla report A B` shows all."""


class CompareRunsArgs(CliArgs):
    """Compare two evaluations of the same episodes: paired differences, and the episodes that changed.

    The difference is of CANDIDATE from BASELINE, over episodes of the same task, setting, robot, protocol and seed that
    neither crashed in, with its 95 % interval and the p-value of McNemar's exact test. Both hold for these two runs: a
    policy that is trained again may differ more. `wla report BASELINE CANDIDATE` shows the episodes.

    examples:
      wla compare-runs outputs/before outputs/after
    """

    baseline: Path
    """Folder of an evaluation (the --out of `wla eval`)."""
    candidate: Path
    """Folder of another evaluation of the same seeds."""


def compare_runs(args: CompareRunsArgs) -> int:
    from wla.evaluation.paired import changed_episodes, paired_rows, read_pair

    runs = read_pair(args.baseline, args.candidate)
    print(f"A, the baseline: {args.baseline} ({runs[0].description})")
    print(f"B: {args.candidate} ({runs[1].description})")
    first, second = (run.results for run in runs)
    print_rows(paired_rows(first, second))
    unpaired = [f"{len(a.keys() - b.keys())} of {name}" for a, b, name in ((first, second, "A"), (second, first, "B"))]
    if first.keys() ^ second.keys():
        print(f"episodes without a partner, left out of the differences: {', '.join(unpaired)}")
    if runs[0].version_sets != runs[1].version_sets:
        print("the runs used different software versions; scores depend on simulator and renderer versions")
    changed = changed_episodes(first, second)
    print(f"episodes with another outcome: {len(changed)}")
    print_episodes((key, before.outcome, after.outcome) for key, before, after in changed)
    return 0


def print_rows(rows: Iterable[PairedRow]) -> None:
    """Prints a table of paired differences, the first row being that of all episodes, and what it means."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    table = Table("task", "setting", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("A, %", "B, %", "B - A, points", "95 %", "only A", "only B", "pairs", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        names = (row.variant.task, row.variant.setting) if row.variant else ("all", "")
        interval = row.difference
        difference = ("-", "") if interval is None else (f"{100 * interval.estimate:+.1f}", interval.bounds(sign=True))
        counts = (str(row.only_first), str(row.only_second), str(row.pairs), f"{row.p_value:.2g}")
        table.add_row(*names, *map(_percent, row.rates), *difference, *counts)
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=200)
    console.print(table)
    total = rows[0].difference
    if total is not None:
        print(f"95 %: {total.label}; p: McNemar's exact test")


def print_episodes(episodes: Iterable[tuple[Key, str, str]]) -> None:
    """Prints a line per episode: task, setting, seed, and what it was and is."""
    lines = [f"  {variant.task} {variant.setting}, seed {seed}: {a} -> {b}" for (variant, seed), a, b in episodes]
    print("".join(f"{line}\n" for line in lines[:MAX_LISTED]), end="")
    if len(lines) > MAX_LISTED:
        print(f"  ... and {len(lines) - MAX_LISTED} more")


def print_reproduction(found: Reproduction) -> None:
    """Prints how a second run of an evaluation compares with the recorded one."""
    same = found.total - len(found.differing)
    print(f"{same} of {found.total} episodes are equal (outcome and number of steps)")
    print_episodes((key, _ending(before), _ending(after)) for key, before, after in found.differing)
    print("A: recorded, B: this run")
    print_rows([found.row])
    for change in found.surroundings:
        print(f"differs: {change}")


def _ending(episode: Episode) -> str:
    return f"{episode.outcome} after {episode.steps} steps"


def _percent(rate: Rate) -> str:
    return "-" if rate.rate is None else f"{100 * rate.rate:.1f}"


COMPARE_RUNS = {"compare-runs": Command(CompareRunsArgs, compare_runs, positional=("baseline", "candidate"))}
