"""One line of a report of `wla doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    ok: None for information that cannot fail, and for what could not be checked.
    fix: what to do about it.
    """

    name: str
    found: str
    ok: bool | None
    fix: str = ""
