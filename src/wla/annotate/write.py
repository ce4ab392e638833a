"""Write segments into a dataset: the labels of all episodes, or none."""

from __future__ import annotations

from collections.abc import Sequence

from wla.annotate.segments import Segment, frame_texts
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.relabel import relabel


def require_unlabelled(dataset: LeRobotDataset, *, replace: bool) -> None:
    """ValueError when the dataset has labels already and they are not to be replaced: asked before any work is done."""
    if dataset.subtasks is not None and not replace:
        raise ValueError(
            f"{dataset.root}: has subtasks already; --replace replaces them all, --dry-run changes nothing, and "
            f"`wla annotate {dataset.root} --csv-out FILE` keeps a copy of them"
        )


def write_labels(dataset: LeRobotDataset, segments: Sequence[Segment]) -> None:
    """Replace all labels of a dataset. ValueError when it cannot be written, or when no frame would have a label."""
    if not segments:
        raise ValueError(f"{dataset.root}: not one segment to write; nothing was changed, check where they come from")
    relabel(dataset, frame_texts(segments, dataset.episodes))
