"""`wla report`: the pages of finished evaluations, written again; parsing and printing only."""

from __future__ import annotations

from pathlib import Path

from wla.cli.command import CliArgs, Command


class ReportArgs(CliArgs):
    """Write the HTML report of an evaluation again.

    Videos and images lie beside the report and load when they come into view; --single-file embeds them, to send it.

    examples:
      wla report outputs/place
      wla report outputs/place --single-file --out place.html
    """

    run: Path
    """Folder of an evaluation (the --out of `wla eval`)."""
    out: Path | None = None
    """HTML file; report.html in the evaluation's folder when left out."""
    single_file: bool = False
    """Embed videos and images in the page."""


def report(args: ReportArgs) -> int:
    from wla.evaluation.report import write_report

    print(f"report: {write_report(args.run, page=args.out, single_file=args.single_file)}")
    return 0


REPORT = {"report": Command(ReportArgs, report, positional=("run",))}
