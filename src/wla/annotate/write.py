"""Writing of segments into a dataset: the labels of all episodes, or of none."""

from __future__ import annotations

from collections.abc import Sequence

from wla.annotate.segments import Segment, frame_texts
from wla.data.lerobot.format import require_tables
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.relabel import relabel


def require_unlabelled(dataset: LeRobotDataset, *, replace: bool) -> None:
    """Raises ValueError for a dataset that has labels already, unless `replace`, and for one of an earlier version.

    To be called before any work.
    """
    require_tables(dataset.root, dataset.info)
    if dataset.subtasks is not None and not replace:
        raise ValueError(
            f"{dataset.root}: has subtasks already; --replace replaces them all, --dry-run changes nothing, and "
            f"`wla annotate {dataset.root} --csv-out FILE` saves a copy of them"
        )


def write_labels(dataset: LeRobotDataset, segments: Sequence[Segment], *, language_columns: bool = False) -> None:
    """Replaces all labels of a dataset. ValueError when there are no segments or the dataset cannot be written.

    language_columns: also adds LeRobot's language columns, where the dataset does not have them.
    """
    if not segments:
        raise ValueError(f"{dataset.root}: no segments to write; nothing was changed, check their source")
    relabel(dataset, frame_texts(segments, dataset.episodes), language_columns=language_columns)
