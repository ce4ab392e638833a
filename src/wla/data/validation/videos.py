"""Checks of the images: every frame of every video is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np

from wla.data.lerobot.format import INFO, DatasetInfo, frame_rate
from wla.data.lerobot.tables import read_images, read_schema
from wla.data.validation.episodes import EpisodeRow, files_of
from wla.data.validation.issues import Issue
from wla.data.video import codec
from wla.progress import progress_bar


@dataclass(frozen=True)
class _Job:
    """A file to decode. starts: (first frame, episode) of each episode in it, in order."""

    path: Path
    decode: Callable[[Path], Iterator[np.ndarray]]
    shape: tuple[int, int, int]
    frames: int
    starts: list[tuple[int, int]]

    def episode_at(self, frame: int) -> int:
        return [episode for first, episode in self.starts if first <= frame][-1]


def check_images(root: Path, info: DatasetInfo, rows: list[EpisodeRow]) -> list[Issue]:
    """Issues of videos and single images: files, sizes, rates, numbers of frames, frames that cannot be decoded."""
    issues: list[Issue] = []
    jobs: list[_Job] = []
    for key in info.cameras.values():
        try:
            height, width = info.image_size(root, key)
            is_video = key in info.video_keys
            files = files_of(root, info, rows, key if is_video else None)
        except ValueError as error:
            issues.append(Issue.of(error))
            continue
        for path, part in files.items():
            job, found = (_video_job if is_video else _data_job)(path, part, info, key, (height, width, 3))
            issues += found
            jobs += [job] if job else []
    return issues + _decode_all(jobs)


def _video_job(
    path: Path, rows: list[EpisodeRow], info: DatasetInfo, key: str, shape: tuple[int, int, int]
) -> tuple[_Job | None, list[Issue]]:
    """The job to decode the file, None when it cannot be opened, and the issues of its header."""
    issues = []
    starts, frames = [], 0
    for row in rows:
        first = round(row[f"videos/{key}/from_timestamp"] * info.fps)
        if first != frames:
            message = f"{path}: starts at frame {first} of the video, it must be {frames}"
            issues.append(Issue("error", row["episode_index"], message, "correct from_timestamp in meta/episodes"))
        starts.append((frames, row["episode_index"]))
        frames += row["length"]
    try:
        header = codec.probe(path)
    except ValueError as error:
        return None, [*issues, Issue.of(error, rows[0]["episode_index"] if len(rows) == 1 else None)]
    if abs(header.rate - frame_rate(float(info.fps))) > 0.01:
        message = f"{path}: has {float(header.rate):g} frames/s, {INFO} has {info.fps:g}"
        issues.append(Issue("error", None, message, f"correct {INFO}"))
    return _Job(path, partial(codec.decode, size=shape[:2]), shape, frames, starts), issues


def _data_job(
    path: Path, rows: list[EpisodeRow], info: DatasetInfo, key: str, shape: tuple[int, int, int]
) -> tuple[_Job | None, list[Issue]]:
    try:
        names = read_schema(path).names
    except ValueError:
        return None, []  # reported by the check of the frames
    if key not in names:
        return None, [Issue("error", None, f"{path}: column {key!r} is missing", "restore the file")]
    ends = np.cumsum([0, *(row["length"] for row in rows)]).tolist()
    starts = [(first, row["episode_index"]) for first, row in zip(ends, rows, strict=False)]
    return _Job(path, partial(read_images, key=key, size=shape[:2]), shape, ends[-1], starts), []


def _decode_all(jobs: list[_Job]) -> list[Issue]:
    issues: list[Issue] = []
    stop = Event()
    with progress_bar() as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        task = progress.add_task("decoding", total=sum(job.frames for job in jobs))
        running = [pool.submit(_decode, job, stop, lambda: progress.advance(task)) for job in jobs]
        try:
            for done in running:
                issues += done.result()
        finally:
            stop.set()
    return issues


def _decode(job: _Job, stop: Event, advance: Callable[[], None]) -> list[Issue]:
    """Decodes a file from its first frame to its last; returns the issues of its frames."""
    issues: list[Issue] = []
    count, size_reported = 0, False
    try:
        for image in job.decode(job.path):
            if stop.is_set():
                return issues
            if image.shape != job.shape and not size_reported:
                size_reported = True
                size, expected = "x".join(map(str, image.shape[:2])), "x".join(map(str, job.shape[:2]))
                message = f"{job.path}: is {size} at frame {count}, {INFO} has {expected}"
                issues.append(Issue("error", _only_episode(job), message, f"correct {INFO} or restore the file"))
            count += 1
            advance()
    except ValueError as error:
        return [*issues, Issue.of(error, job.episode_at(count))]
    if count != job.frames:
        episode = job.episode_at(count) if count < job.frames else _only_episode(job)
        message = f"{job.path}: holds {count} frames, its episodes {job.frames}"
        issues.append(Issue("error", episode, message, "restore it or remove the episode"))
    return issues


def _only_episode(job: _Job) -> int | None:
    return job.starts[0][1] if len(job.starts) == 1 else None
