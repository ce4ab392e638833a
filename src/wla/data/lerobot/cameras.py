"""The cameras of a dataset: those that can be read, the reasons against others, and where the frames of each lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wla.data.lerobot.camera_frames import CameraFrames
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.episode_table import Episode, EpisodeRow, begin_in_video
from wla.data.lerobot.format import DatasetInfo, frame_rate
from wla.data.lerobot.image_files import ParquetImages
from wla.data.lerobot.timing import Run
from wla.data.video.frame_files import FileSegment

MAX_PROBED = 32
"""Number of files of a camera whose headers are read on opening, evenly spread: one program wrote them all, as a rule,
and each header takes some milliseconds."""
MAX_PROBED_DATA = 3
"""The same for single images, which lie in pages of a megabyte in the data files."""


@dataclass(frozen=True)
class Cameras:
    """The cameras of a dataset.

    features: name -> feature. sizes: name -> (height, width) of those that state colour images. unreadable: name -> why
    these cannot be read all the same, with what to do.
    """

    root: Path
    info: DatasetInfo
    features: dict[str, str]
    sizes: dict[str, tuple[int, int]]
    unreadable: dict[str, str]

    @classmethod
    def find(cls, root: Path, info: DatasetInfo, columns: Columns, rows: Sequence[EpisodeRow]) -> Cameras:
        """Reads headers of the videos and images; absent and damaged ones are found when their frames are read.

        rows: of the episodes. ValueError when there are cameras, and none that states colour images can be read.
        """
        features = columns.camera_features(root, info)
        colour = {camera: key for camera, key in features.items() if info.is_colour(key)}
        sizes = {camera: info.image_size(root, key) for camera, key in colour.items()}
        reasons = {camera: _unreadable(root, info, rows, key) for camera, key in colour.items()}
        unreadable = {camera: reason for camera, reason in reasons.items() if reason}
        if unreadable and len(unreadable) == len(colour):
            raise ValueError(next(iter(unreadable.values())))
        return cls(root, info, features, sizes, unreadable)

    @property
    def notes(self) -> list[str]:
        """A line for each camera that cannot be read although it states colour images."""
        return [f"camera {camera!r} is not read: {reason}" for camera, reason in self.unreadable.items()]

    def open(
        self,
        camera: str,
        episodes: Sequence[Episode],
        rows: Sequence[EpisodeRow],
        runs: Sequence[Run],
        data: Sequence[FileSegment],
    ) -> CameraFrames:
        """Where the frames of a camera lie.

        runs: of all episodes. data: rows of the data files. ValueError, with the reason, for a camera that the dataset
        does not have or that cannot be read.
        """
        if camera in self.unreadable:
            raise ValueError(self.unreadable[camera])
        if camera not in self.sizes:
            what = "no camera" if camera not in self.features else "only colour images can be read, not those of"
            raise ValueError(f"{self.root}: {what} {camera!r}; the dataset has {list(self.sizes)}")
        key = self.features[camera]
        is_video = key in self.info.video_keys
        segments = self._video_segments(key, episodes, rows, runs) if is_video else data
        return CameraFrames(
            self.root,
            next(name for name, own in self.info.cameras.items() if own == key),  # one cache, however it is renamed
            key,
            self.sizes[camera],
            segments,
            frame_rate(float(self.info.fps)),
            is_video,
        )

    def _video_segments(
        self, key: str, episodes: Sequence[Episode], rows: Sequence[EpisodeRow], runs: Sequence[Run]
    ) -> list[FileSegment]:
        """The segments of video files that hold the frames of each run."""
        segments, fps = [], float(self.info.fps)
        for run in runs:
            row = rows[run.episode]
            path = self.info.video_file(self.root, row, key)
            first = round(begin_in_video(self.root, row, key, run, fps) * fps)
            segments.append(FileSegment(path, first, episodes[run.episode].start + run.first, run.length))
        return segments


def _unreadable(root: Path, info: DatasetInfo, rows: Sequence[EpisodeRow], key: str) -> str:
    """The reason why no colour images can be read of a camera, '' where they can."""
    is_video = key in info.video_keys
    prefix = f"videos/{key}" if is_video else "data"
    places = {(row.get(f"{prefix}/chunk_index"), row.get(f"{prefix}/file_index")): row for row in rows}
    files = [row for place, row in places.items() if None not in place]
    most = MAX_PROBED if is_video else MAX_PROBED_DATA
    for number in np.unique(np.linspace(0, len(files) - 1, min(len(files), most)).round().astype(int)):
        try:
            if is_video:
                reason = _unreadable_video(info.video_file(root, files[number], key))
            else:
                # The size is compared when frames are read.
                reason = ParquetImages(key, (0, 0)).unreadable(info.data_file(root, files[number]))
        except ValueError:
            continue
        if reason:
            return reason
    return ""


def _unreadable_video(path: Path) -> str:
    # Imported here, so that datasets without videos are read without a decoder.
    from wla.data.video.codec import UnreadableVideo, probe

    try:
        probe(path)
    except UnreadableVideo as error:
        return str(error)
    return ""
