"""Checks of `meta/episodes` and `meta/tasks.parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wla.data.lerobot.format import (
    INFO,
    TASKS,
    DatasetInfo,
    episode_files,
    read_episode_file,
    read_tasks,
)
from wla.data.validation.issues import Issue

EpisodeRow = dict[str, Any]
"""One row of `meta/episodes`."""


def read_rows(root: Path, info: DatasetInfo) -> tuple[list[EpisodeRow], list[Issue]]:
    """The rows of all episodes whose files can be read, and their issues."""
    found: list[EpisodeRow] = []
    issues: list[Issue] = []
    for path in episode_files(root):
        try:
            found += read_episode_file(path, info)
        except ValueError as error:
            issues.append(Issue.of(error))
    # Rows beyond those that `info` counts are of a shard whose publication was interrupted, or were counted wrong.
    rows = [row for row in found if row["episode_index"] < info.total_episodes]
    if len(found) > len(rows):
        message = f"meta/episodes describes {len(found) - len(rows)} more episodes than the {info.total_episodes} that "
        message += f"{INFO} counts; they are not read"
        issues.append(Issue("warning", None, message, f"correct total_episodes in {INFO} if they belong to it"))
    if len(rows) != info.total_episodes:
        message = f"meta/episodes describes {len(rows)} episodes, {INFO} counts {info.total_episodes}"
        issues.append(Issue("error", None, message, "restore the missing file"))
    elif not rows:
        issues.append(Issue("error", None, "the dataset has no episodes", "collect some first"))
    frames = sum(row["length"] for row in rows)
    if len(rows) == info.total_episodes and frames != info.total_frames:
        message = f"meta/episodes describes {frames} frames, {INFO} counts {info.total_frames}"
        issues.append(Issue("error", None, message, f"correct total_frames in {INFO}"))
    return rows, issues + _sequence(rows)


def _sequence(rows: list[EpisodeRow]) -> list[Issue]:
    """Issues of the order of episodes and frames, which must follow each other without gaps."""
    issues = []
    number, end = 0, 0
    for row in rows:
        episode, start, length = row["episode_index"], row["dataset_from_index"], row["length"]
        if episode != number:
            message = f"episode {episode} follows episode {number - 1} in meta/episodes"
            issues.append(Issue("error", episode, message, "restore the missing file"))
        elif start != end:
            message = f"starts at frame {start} of the dataset, the episodes before it end at {end}"
            issues.append(Issue("error", episode, message, "restore meta/episodes"))
        if row["dataset_to_index"] - start != length:
            message = f"spans frames {start}..{row['dataset_to_index']} and its length is {length}"
            issues.append(Issue("error", episode, message, "restore meta/episodes"))
        if length < 2:
            message = f"has {length} frames, too few for an action and its result"
            issues.append(Issue("error" if length < 1 else "warning", episode, message, "remove the episode"))
        if not row["tasks"]:
            issues.append(Issue("error", episode, "has no task in meta/episodes", "give it one"))
        elif not all(str(task).strip() for task in row["tasks"]):
            issues.append(Issue("error", episode, "has an empty instruction", "give it one in meta/episodes"))
        number, end = episode + 1, row["dataset_to_index"]
    return issues


def files_of(
    root: Path, info: DatasetInfo, rows: list[EpisodeRow], video_key: str | None = None
) -> dict[Path, list[EpisodeRow]]:
    """The files of a camera's videos, or of the frames, with the episodes that are in each. ValueError for a file
    outside the dataset."""
    files: dict[Path, list[EpisodeRow]] = {}
    for row in rows:
        path = info.data_file(root, row) if video_key is None else info.video_file(root, row, video_key)
        files.setdefault(path, []).append(row)
    return files


def check_tasks(root: Path, rows: list[EpisodeRow]) -> tuple[list[str] | None, list[Issue]]:
    """The instructions in the order of their task_index (None when they cannot be read), and their issues."""
    try:
        tasks = read_tasks(root)
    except ValueError as error:
        return None, [Issue.of(error)]
    issues = [
        Issue("error", None, f"{TASKS}: the instruction of task {index} is empty", "write one")
        for index, task in enumerate(tasks)
        if not task.strip()
    ]
    known = set(tasks)
    for row in rows:
        absent = [task for task in row["tasks"] if task not in known]
        if absent:
            message = f"its task {absent[0]!r} is not in {TASKS}"
            issues.append(Issue("error", row["episode_index"], message, "restore it"))
    return tasks, issues
