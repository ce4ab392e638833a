"""`wla data view`: a page of a dataset; parsing and printing only."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from wla.cli.command import Command
from wla.cli.dataset_columns import ColumnArgs
from wla.cli.names import open_dataset


class ViewArgs(ColumnArgs):
    """Write an HTML page of a dataset's episodes: videos of all cameras, curves of state and action, subtasks.

    Works offline, and for any LeRobot dataset (v2.0, v2.1, v3.0); subtasks and a robot file are not needed. The videos
    are encoded anew, small, into a folder beside the page (hammer_files for hammer.html); --single-file embeds them.

    examples:
      wla data view datasets/hammer --out hammer.html
      wla data view downloads/their_dataset --state observation.qpos --episodes 10 --single-file --out theirs.html
    """

    dataset: Path
    """Folder of a LeRobot dataset (v2.0, v2.1, v3.0), or its id on the Hugging Face hub."""
    out: Path
    """HTML file, or a folder that gets index.html."""
    episodes: int = Field(default=50, ge=1)
    """Episodes to show, spread evenly."""
    single_file: bool = False
    """Embed the videos in the page."""


def view(args: ViewArgs) -> int:
    dataset = open_dataset(args.dataset, args.columns)
    from wla.annotate.review import parts_of
    from wla.annotate.segments import segments_of
    from wla.data.viewer.page import write_dataset_page

    page = args.out if args.out.suffix in (".html", ".htm") else args.out / "index.html"
    subtasks = parts_of(segments_of(dataset))
    shown = write_dataset_page(page, dataset, subtasks, episodes=args.episodes, single_file=args.single_file)
    print(f"{page}: {shown} of {len(dataset.episodes)} episodes; open it in a browser")
    return 0


VIEW = {"view": Command(ViewArgs, view, positional=("dataset",))}
