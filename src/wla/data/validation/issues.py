"""Problems that dataset validation finds, and their table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from rich.table import Table
from rich.text import Text

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Issue:
    """A problem of a dataset.

    severity: an error would stop training or corrupt it; a warning may be intended; a note is good to know. episode:
    None when the problem concerns several or none.
    """

    severity: Severity
    episode: int | None
    message: str
    fix: str

    @classmethod
    def of(cls, error: ValueError, episode: int | None = None) -> Issue:
        """The error of a reader, whose message ends with the fix."""
        message, separator, fix = str(error).rpartition("; ")
        return cls("error", episode, message, fix) if separator else cls("error", episode, str(error), "restore it")


def count_errors(issues: Iterable[Issue]) -> int:
    return sum(issue.severity == "error" for issue in issues)


def count_warnings(issues: Iterable[Issue]) -> int:
    return sum(issue.severity == "warning" for issue in issues)


def issues_table(issues: Iterable[Issue]) -> Table:
    """A table of the issues, errors first."""
    table = Table("severity", "episode", "problem", "fix")
    order = get_args(Severity)
    ordered = sorted(
        issues, key=lambda issue: (order.index(issue.severity), -1 if issue.episode is None else issue.episode)
    )
    for issue in ordered:
        colour = {"error": "red", "warning": "yellow", "note": "cyan"}[issue.severity]
        episode = "" if issue.episode is None else str(issue.episode)
        # Text, because brackets in a message are not markup.
        table.add_row(Text(issue.severity, colour), episode, Text(issue.message), Text(issue.fix))
    return table
