"""Checks of the images: every frame of every video is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np

from wla.data.lerobot.format import INFO, DatasetInfo, frame_rate
from wla.data.lerobot.image_files import ParquetImages
from wla.data.lerobot.tables import count_rows, read_schema
from wla.data.validation.episodes import EpisodeRow, Part, videos_of
from wla.data.validation.frames import FoundFrames
from wla.data.validation.issues import Issue
from wla.data.video import codec
from wla.data.video.frame_files import FileSegment, FrameFiles
from wla.data.video.video_files import VideoFiles
from wla.progress import progress_bar


@dataclass(frozen=True)
class _Job:
    """A file to decode. frames: their number. starts: (first frame, episode) of each episode in it, ascending."""

    path: Path
    decode: Callable[[], Iterator[np.ndarray]]
    shape: tuple[int, int, int]
    frames: int
    starts: list[tuple[int, int]]

    def episode_at(self, frame: int) -> int:
        return [episode for first, episode in self.starts if first <= frame or first == self.starts[0][0]][-1]


def check_images(root: Path, info: DatasetInfo, rows: list[EpisodeRow], frames: FoundFrames) -> list[Issue]:
    """Issues of videos and single images: files, sizes, times, numbers of frames, frames that cannot be decoded."""
    issues: list[Issue] = []
    jobs: list[_Job] = []
    for key in info.cameras.values():
        if not info.is_colour(key):
            message = f"{key!r} has shape {info.features[key].shape}; only colour images are read, and checked"
            issues.append(Issue("warning", None, message, "nothing, unless it is needed"))
            continue
        try:
            size = info.image_size(root, key)
            if key in info.video_keys:
                files, found = videos_of(root, info, rows, key, frames.runs)
                more, others = _video_jobs(files, float(info.fps), size)
                issues += found + others
                jobs += more
                continue
        except ValueError as error:
            issues.append(Issue.of(error))
            continue
        for path, parts in _by_file(frames).items():
            job, found = _data_job(path, parts, key, size)
            issues += found
            jobs += [job] if job else []
    return issues + _decode_all(jobs)


def _by_file(frames: FoundFrames) -> dict[Path, list[Part]]:
    """Data file -> (episode, first row, number of rows) of each episode in it."""
    files: dict[Path, list[Part]] = {}
    for episode, parts in frames.rows.items():
        for path, first, count in parts:
            files.setdefault(path, []).append((episode, first, count))
    return files


def _video_jobs(files: dict[Path, list[Part]], fps: float, size: tuple[int, int]) -> tuple[list[_Job], list[Issue]]:
    """The jobs to decode a camera's videos, and their issues: one for all that are not of colour images."""
    jobs: list[_Job] = []
    issues: list[Issue] = []
    unreadable: list[Issue] = []
    for path, parts in files.items():
        try:
            job, found = _video_job(path, parts, fps, size)
        except codec.UnreadableVideo as error:
            unreadable.append(Issue.of(error))
            continue
        issues += found
        jobs += [job] if job else []
    for first in unreadable[:1]:
        more = f" (and {len(unreadable) - 1} more files of this camera are unreadable)" if unreadable[1:] else ""
        issues.append(replace(first, message=first.message + more))
    return jobs, issues


def _video_job(path: Path, parts: list[Part], fps: float, size: tuple[int, int]) -> tuple[_Job | None, list[Issue]]:
    """The job to decode the file, None when it is damaged, and the issues of its times. `UnreadableVideo` for one that
    is not of colour images."""
    files = VideoFiles(frame_rate(fps), size)
    try:
        codec.probe(path)
        index = files.index(path)
    except codec.UnreadableVideo:
        raise
    except ValueError as error:
        return None, [Issue.of(error, parts[0][0] if len(parts) == 1 else None)]
    starts, issues = _locate(path, parts, files)
    used = np.zeros(len(index.times), int)
    for first, (_, _, length) in zip(starts, parts, strict=True):
        used[first : first + length] += 1
    if not issues and (used > 1).any():
        message = f"{path}: frame {np.argmax(used > 1)} belongs to two episodes"
        issues.append(Issue("warning", None, message, "compare from_timestamp in meta/episodes with the video"))
    if not issues and not used.all():
        message = f"{path}: {np.sum(used == 0)} of its {len(used)} frames belong to no episode"
        issues.append(Issue("warning", None, message, "nothing, if they were left out on purpose"))
    if not parts:
        return None, issues
    return _job(path, partial(codec.decode, path, size), size, len(used), starts, parts), issues


def _data_job(path: Path, parts: list[Part], key: str, size: tuple[int, int]) -> tuple[_Job | None, list[Issue]]:
    files = ParquetImages(key, size)
    try:
        names, count = read_schema(path).names, count_rows(path)
    except ValueError:
        return None, []  # reported by the check of the frames
    if key not in names:
        return None, [Issue("error", None, f"{path}: column {key!r} is missing", "restore the file")]
    starts, issues = _locate(path, parts, files)
    return _job(path, partial(files.read, path, range(count)), size, count, starts, parts), issues


def _locate(path: Path, parts: list[Part], files: FrameFiles) -> tuple[list[int], list[Issue]]:
    """The frame of the file with which each episode begins, and the issues of those whose frames are not there."""
    starts, issues = [], []
    for episode, first, length in parts:
        try:
            starts.append(files.locate(FileSegment(path, first, 0, length)))
        except ValueError as error:
            starts.append(first)
            issues.append(Issue.of(error, episode))
    return starts, issues


def _job(
    path: Path,
    decode: Callable[[], Iterator[np.ndarray]],
    size: tuple[int, int],
    frames: int,
    starts: list[int],
    parts: list[Part],
) -> _Job:
    episodes = [episode for episode, _, _ in parts]
    return _Job(path, decode, (*size, 3), frames, sorted(zip(starts, episodes, strict=True)))


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
        for image in job.decode():
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
        message = f"{job.path}: {count} of its {job.frames} frames can be decoded"
        issues.append(Issue("error", episode, message, "restore it or remove the episode"))
    return issues


def _only_episode(job: _Job) -> int | None:
    return job.starts[0][1] if len(job.starts) == 1 else None
