"""The times of a video's frames, read from its packets: nothing is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from wla.data.video.codec import fraction, open_video, video_errors

SEEK_COST = 2
"""Number of frames that could be decoded in the time of one seek, roughly."""


@dataclass(frozen=True)
class VideoIndex:
    """Frames of a file in the order of their presentation.

    times: when each of the N frames is shown, ascending, in units of `unit` seconds. keys: number of the last key frame
    at or before each frame; the first one before there is any. open_groups: whether frames that are shown before a key
    frame are stored after it, so that decoders which begin there meet references that they do not have.
    """

    path: Path
    times: Int64[np.ndarray, " N"]
    keys: Int64[np.ndarray, " N"]
    unit: Fraction
    open_groups: bool

    @property
    def seconds(self) -> np.ndarray:
        """When each frame is shown, in seconds after the first one."""
        return (self.times - self.times[0]) * float(self.unit)

    def locate(self, first: int, length: int, rate: Fraction) -> int:
        """The frame shown first/rate seconds after the file's first one; the `length` - 1 after it follow at this rate.

        ValueError when the file ends before, or when a frame is shown half a frame or more beside its time: times and
        order of the frames would then name different ones.
        """
        wanted = (first + np.arange(length)) / float(rate)
        start = int(np.abs(self.seconds - wanted[0]).argmin())
        if start + length > len(self.times):
            raise ValueError(
                f"{self.path}: holds {len(self.times)} frames, an episode its frames {start} to {start + length - 1}; "
                "restore the file or collect the dataset again"
            )
        shown = self.seconds[start : start + length]
        late = np.flatnonzero(np.abs(shown - wanted) >= 0.5 / float(rate))
        if late.size:
            frame = int(late[0])
            raise ValueError(
                f"{self.path}: frame {start + frame} is shown at {shown[frame]:.3f} s, at {float(rate):g} frames/s the "
                f"dataset has it at {wanted[frame]:.3f} s; correct fps in meta/info.json, or encode the video again at "
                "a constant rate"
            )
        return start

    def worth_a_seek(self, position: int, number: int) -> bool:
        """Whether seeking is the cheaper way from frame `position`, which was decoded last, to a later one."""
        key = int(self.keys[number])
        return key > position and number - position > number - key + 1 + SEEK_COST


def read_index(path: Path) -> VideoIndex:
    """Reads all packets of a video. ValueError when it is absent, damaged, or has no frames."""
    shown: list[tuple[int, bool]] = []
    open_groups, last_key = False, -math.inf
    with video_errors(path, lambda: f"packet {len(shown)}"):
        container, stream = open_video(path)
        with container:
            for packet in container.demux(stream):
                time = packet.dts if packet.pts is None else packet.pts
                if not packet.size or packet.is_discard:  # an edit list hides frames that are there
                    continue
                time = len(shown) if time is None else time
                shown.append((time, packet.is_keyframe))
                open_groups |= time < last_key
                last_key = time if packet.is_keyframe else last_key
            unit = fraction(stream.time_base) or Fraction(1)
    if not shown:
        raise ValueError(f"{path}: holds no frames; restore it or collect the dataset again")
    shown.sort()
    is_key = np.array([key for _, key in shown])
    keys = np.maximum.accumulate(np.where(is_key, np.arange(len(shown)), 0))
    return VideoIndex(path, np.array([time for time, _ in shown], np.int64), keys, unit, open_groups)
