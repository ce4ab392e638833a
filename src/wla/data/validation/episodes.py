"""Checks of `meta/episodes` and `meta/tasks.parquet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wla.data.lerobot.episode_table import (
    EpisodeRow,
    begin_in_video,
    episode_files,
    read_episode_file,
    uncounted,
)
from wla.data.lerobot.format import (
    INFO,
    ROBOT,
    TASKS,
    DatasetInfo,
)
from wla.data.lerobot.text_table import read_tasks
from wla.data.lerobot.timing import Run
from wla.data.validation.issues import Issue, Severity


def read_rows(root: Path, info: DatasetInfo) -> tuple[list[EpisodeRow], list[Issue]]:
    """The rows of all episodes whose files can be read, and their issues."""
    found: list[EpisodeRow] = []
    issues: list[Issue] = []
    for path in episode_files(root):
        try:
            found += read_episode_file(path, root, info)
        except ValueError as error:
            issues.append(Issue.of(error))
    # Rows beyond those that `info` counts are of a shard whose publication was interrupted, or were counted wrong.
    rows = [row for row in found if row["episode_index"] < info.total_episodes]
    if len(found) > len(rows):
        others = [row for row in found if row["episode_index"] >= info.total_episodes]
        # Beside our robot file they are what an interrupted recording leaves, and the next one writes over them.
        severity: Severity = "warning" if (root / ROBOT).is_file() else "error"
        fix = f"correct total_episodes and total_frames in {INFO} if they belong to it, or remove them"
        issues.append(Issue(severity, None, uncounted(others, info), fix))
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
        episode, length = row["episode_index"], row["length"]
        start = row.get("dataset_from_index", end)
        last = row.get("dataset_to_index", start + length)
        if episode != number:
            message = f"episode {episode} follows episode {number - 1} in meta/episodes"
            issues.append(Issue("error", episode, message, "restore the missing file"))
        elif start != end:
            message = f"starts at frame {start} of the dataset, the episodes before it end at {end}"
            issues.append(Issue("error", episode, message, "restore meta/episodes"))
        if last - start != length:
            message = f"spans frames {start}..{last} and its length is {length}"
            issues.append(Issue("error", episode, message, "restore meta/episodes"))
        if length < 2:
            message = f"has {length} frames, too few for an action and its result"
            issues.append(Issue("error" if length < 1 else "warning", episode, message, "remove the episode"))
        number, end = episode + 1, last
    return issues


Part = tuple[int, int, int]
"""Episode, its first frame in a file, and its length."""


def videos_of(
    root: Path, info: DatasetInfo, rows: list[EpisodeRow], key: str, runs: Mapping[int, Sequence[Run]]
) -> tuple[dict[Path, list[Part]], list[Issue]]:
    """The files of a camera's videos with the parts of episodes in each, and the issues of those without a part.

    runs: episode -> its runs of frames without gaps. ValueError for a file outside the dataset, and for a camera
    that some of the episodes lack.
    """
    absent = [row["episode_index"] for row in rows if row.get(f"videos/{key}/file_index") is None]
    if absent:
        raise ValueError(
            f"meta/episodes: {key!r} has no video in {len(absent)} of {len(rows)} episodes, the first is episode "
            f"{absent[0]}; split the dataset, or remove the camera from {INFO}"
        )
    files: dict[Path, list[Part]] = {}
    issues: list[Issue] = []
    fps = float(info.fps)
    for row in rows:
        episode = row["episode_index"]
        parts = files.setdefault(info.video_file(root, row, key), [])
        try:
            for run in runs.get(episode, [Run(episode, 0, row["length"], 0.0)]):
                parts.append((episode, round(begin_in_video(root, row, key, run, fps) * fps), run.length))
        except ValueError as error:
            issues.append(Issue.of(error, episode))
    return files, issues


def check_tasks(root: Path) -> tuple[list[str] | None, list[Issue]]:
    """The instructions in the order of their task_index (None when they cannot be read), and their issues."""
    try:
        tasks = read_tasks(root)
    except ValueError as error:
        return None, [Issue.of(error)]
    blank = [index for index, task in enumerate(tasks) if not task.strip()]
    if blank and len(blank) == len(tasks):
        message = f"{TASKS}: no task has a text, so the dataset has no instruction"
        return tasks, [Issue("error", None, message, "write what the robot does there")]
    if not tasks:
        message = f"{TASKS}: holds no task, so the dataset has no instruction"
        return tasks, [Issue("error", None, message, "write what the robot does into it")]
    return tasks, [
        Issue("error", None, f"{TASKS}: the instruction of task {index} is empty", "write one") for index in blank
    ]
