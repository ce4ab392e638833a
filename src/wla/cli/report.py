"""`wla report`: the pages of finished evaluations, written again; parsing and printing only."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from wla.cli.command import CliArgs, Command


class ReportArgs(CliArgs):
    """Write the HTML report of an evaluation again, or compare two evaluations on one page.

    Videos and images lie beside the page and load when they come into view; --single-file embeds them, to send it.
    Two evaluations of the same seeds are compared episode by episode, the first being the baseline.

    examples:
      wla report outputs/place
      wla report outputs/place --single-file --out place.html
      wla report outputs/before outputs/after --out compare.html
    """

    runs: tuple[Path, ...] = Field(min_length=1, max_length=2)
    """Folders of one or two evaluations (the --out of `wla eval`)."""
    out: Path | None = None
    """HTML file; report.html, or compare.html, in the (second) evaluation's folder when left out."""
    single_file: bool = False
    """Embed videos and images in the page."""


def report(args: ReportArgs) -> int:
    from wla.evaluation.compare_runs import write_comparison
    from wla.evaluation.report import write_report

    write = write_report if len(args.runs) == 1 else write_comparison
    print(f"report: {write(*args.runs, page=args.out, single_file=args.single_file)}")
    return 0


REPORT = {"report": Command(ReportArgs, report, positional=("runs",))}
