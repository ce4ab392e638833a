"""What a check of a dataset finds, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Issue:
    """A problem. error: training would stop or learn something wrong; warning: look whether it is meant.

    episode is None when it concerns several or none. todo: what to do about it.
    """

    severity: Literal["error", "warning"]
    episode: int | None
    message: str
    fix: str

    @classmethod
    def of(cls, error: ValueError, episode: int | None = None) -> Issue:
        """What a reader complained of; its messages end with what to do."""
        what, separator, todo = str(error).rpartition("; ")
        return cls("error", episode, what, todo) if separator else cls("error", episode, str(error), "restore it")


def count_errors(issues: Iterable[Issue]) -> int:
    return sum(finding.severity == "error" for finding in issues)


def issues_table(issues: Iterable[Issue]) -> Table:
    """Errors first, each with the episode."""
    table = Table("severity", "episode", "what", "what to do")
    ordered = sorted(issues, key=lambda f: (f.severity, -1 if f.episode is None else f.episode))
    for finding in ordered:
        colour = "red" if finding.severity == "error" else "yellow"
        episode = "" if finding.episode is None else str(finding.episode)
        # Text, because brackets in a message are no markup.
        table.add_row(Text(finding.severity, colour), episode, Text(finding.message), Text(finding.fix))
    return table
