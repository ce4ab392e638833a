"""Validation of a whole dataset before training: reports every problem, not only the first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from wla.data.lerobot.columns import Columns
from wla.data.lerobot.format import read_info
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.validation.episodes import check_tasks, read_rows
from wla.data.validation.frames import check_frames
from wla.data.validation.issues import Issue, count_errors
from wla.data.validation.videos import check_images


def check(root: Path, columns: Columns | None = None) -> list[Issue]:
    """All problems of a LeRobot v3.0 dataset. Decodes every image, with a progress bar; nothing is written.

    ValueError only when `root` is not such a dataset.
    """
    info = read_info(root)
    rows, issues = read_rows(root, info)
    try:
        columns = (columns or Columns()).of_dataset(root, info)
    except ValueError as error:
        issues.append(Issue.of(error))
        columns = Columns(state=(), action=())
    tasks, found = check_tasks(root)
    issues += found
    frames = check_frames(root, info, rows, columns, tasks)
    issues += frames.issues
    issues += check_images(root, info, rows, frames)
    if not count_errors(issues):
        # The reader may reject more than the checks above.
        try:
            dataset = LeRobotDataset(root, columns=columns)
            known = {issue.message for issue in issues}
            issues += [Issue("note", None, note, "") for note in dataset.notes if note not in known]
            if dataset.actions is not None:
                dataset.require_one_robot()
                issues += _missing_robot(dataset)
        except ValueError as error:
            issues.append(Issue.of(error))
    # All messages are about this folder; without its name they are short enough for a table.
    return [replace(issue, message=issue.message.replace(f"{root}{os.sep}", "")) for issue in issues]


def _missing_robot(dataset: LeRobotDataset) -> list[Issue]:
    """A warning for a dataset with actions and without a robot file; training needs it, but a recipe may state it."""
    try:
        dataset.require_robot()
    except ValueError as error:
        return [replace(Issue.of(error), severity="warning")]
    return []
