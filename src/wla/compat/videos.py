"""Folder of videos -> LeRobot dataset without actions, for training of world models.

Each clip, a whole file or the part of it that a CSV lists, becomes one episode, or several if it contains cuts.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from wla.data.lerobot.writer import DatasetWriter
from wla.data.transforms import resize_with_pad
from wla.data.video import codec
from wla.data.video.codec import TimedFrame
from wla.files import atomic_dir, read_text
from wla.foreign import damaged, path_below
from wla.progress import progress_bar
from wla.specs import ActionSpec, ObservationSpec, RobotSpec

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".3gp", ".wmv", ".flv", ".ogv"),
)
"""Endings of the files that are taken for videos."""
CAMERA = "front"
HEADER = ("file", "caption", "start", "end")
CUT_THRESHOLD = 60.0
"""Smallest mean absolute difference between consecutive frames that is a cut, in levels of 0 .. 255."""
MAX_FRAME_SECONDS = 60
"""Longest time for which a frame may be shown."""
MIN_CLIP_FRAMES = 2
"""Smallest number of frames of an episode."""


@dataclass(frozen=True)
class Clip:
    """Part of a video file.

    Attributes:
        file: video.
        caption: text that becomes the instruction.
        start: seconds.
        end: seconds; None for the end of the file.
    """

    file: Path
    caption: str
    start: float = 0.0
    end: float | None = None


def convert_videos(
    source: Path, out: Path, *, fps: float, side: int, captions: Path | None = None, cuts: bool = True
) -> tuple[int, list[str]]:
    """Converts videos into a dataset.

    Args:
        source: folder that is searched recursively.
        out: folder of the new dataset.
        fps: frames per second of the dataset.
        side: of the square images, pixels.
        captions: CSV with the columns file,caption[,start,end] (seconds); None to use every file as a clip, with its
            name as caption.
        cuts: whether to split clips at cuts.

    Returns:
        Number of episodes, and what was left out and why, one line each: damaged files, ends that are not there.

    Raises:
        ValueError: there is nothing to write, or `out` exists; nothing is left behind.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; give a new folder")
    if side % 2:
        raise ValueError(f"side is {side}; H.264 video requires an even number of pixels")
    clips = _clips_from_csv(captions, source) if captions is not None else _clips_from_names(source)
    left_out = [] if captions is not None else _other_files(source)
    spec, count = video_robot_spec(fps, side), 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_dir(out) as target,
        DatasetWriter(target, spec, with_actions=False) as writer,
        progress_bar() as progress,
    ):
        for clip in progress.track(clips, description="reading videos"):
            reader, before = _ClipReader(clip, fps, side), count
            try:
                for frames in split_scenes(reader.frames(), cuts=cuts):
                    if len(frames) < MIN_CLIP_FRAMES:
                        left_out.append(f"{clip.file.name}: {len(frames)} frames of {clip.caption!r} are too few")
                        continue
                    for frame in frames:
                        writer.add_frame({CAMERA: frame}, np.zeros(1, np.float32), None)
                    writer.end_episode(clip.caption, keep=True)
                    count += 1
            except ValueError as error:  # of this file; the others are worth having
                kept = f"; {count - before} episodes before that are kept" if count > before else ""
                left_out.append(f"{str(error).rpartition('; ')[0]}{kept}")  # its end is what to do about a dataset
            else:
                left_out += reader.missing()
        if not count:
            reasons = f" ({'; '.join(left_out[:3])})" if left_out else ""
            raise ValueError(
                f"{source}: no clip has {MIN_CLIP_FRAMES} frames at {fps:g} fps{reasons}; nothing was written, give "
                "other clips"
            )
    return count, left_out


def video_robot_spec(fps: float, side: int) -> RobotSpec:
    """Returns the spec of a dataset without a robot: one camera, a placeholder state, and no recorded actions."""
    action = ActionSpec(
        names=("none",),
        units=("1",),
        kinds=("absolute",),
        low=(0.0,),
        high=(0.0,),
        frame="world",
        gripper="none",
        rate_hz=fps,
    )
    observation = ObservationSpec(
        cameras={CAMERA: (side, side)}, state_names=("none",), state_units=("1",), state_frame="world"
    )
    return RobotSpec(embodiment="video", action=action, observation=observation)


def split_scenes(
    frames: Iterator[UInt8[np.ndarray, "S S 3"]], *, cuts: bool
) -> Iterator[list[UInt8[np.ndarray, "S S 3"]]]:
    """Splits a video into scenes at its cuts; without `cuts`, yields all frames as one scene."""
    scene: list[UInt8[np.ndarray, "S S 3"]] = []
    for frame in frames:
        if cuts and scene and np.abs(frame.astype(int) - scene[-1]).mean() > CUT_THRESHOLD:
            yield scene
            scene = []
        scene.append(frame)
    if scene:
        yield scene


def caption_from_name(name: str) -> str:
    """Returns the caption in a file's name: 'pick up the cup' for pick_up-the_cup_03."""
    return " ".join(word for word in re.split(r"[^\w]+|_+", name) if word and not word.isdigit()).lower()


def _files(source: Path) -> list[Path]:
    """The files of a folder and its subfolders; hidden ones, which programs leave behind, are none."""
    found = (file.relative_to(source) for file in source.rglob("*") if file.is_file())
    return sorted(source / file for file in found if not any(part.startswith(".") for part in file.parts))


def _other_files(source: Path) -> list[str]:
    """A line about the files that are not taken for videos, if any."""
    names = [file.name for file in _files(source) if file.suffix.lower() not in SUFFIXES]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"files with other endings: {', '.join(names[:5])}{more}"] if names else []


def _clips_from_names(source: Path) -> list[Clip]:
    files = [file for file in _files(source) if file.suffix.lower() in SUFFIXES]
    if not files:
        raise ValueError(f"{source}: no videos here ({', '.join(SUFFIXES)}); correct the path")
    clips = [Clip(file, caption_from_name(file.stem)) for file in files]
    unnamed = [clip.file.name for clip in clips if not clip.caption]
    if unnamed:
        raise ValueError(f"{source}: no caption in the name of {unnamed[0]}; rename it, or give --captions FILE.csv")
    return clips


def _clips_from_csv(path: Path, source: Path) -> list[Clip]:
    text = read_text(path, "CSV file", missing="no such CSV file; correct the path")
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise damaged(path, "CSV file", error, f"the header must be {','.join(HEADER)}") from error
    if rows and not {"file", "caption"} <= rows[0].keys():
        raise damaged(path, "CSV file", "file and caption are no columns", f"the header must be {','.join(HEADER)}")
    if not rows:
        raise ValueError(f"{path}: lists no clips; the header must be {','.join(HEADER)}")
    return [_clip(row, f"{path} line {number}", source) for number, row in enumerate(rows, start=2)]


def _clip(row: dict[str, str], where: str, source: Path) -> Clip:
    name, caption = (row.get("file") or "").strip(), (row.get("caption") or "").strip()
    if not name or not caption:
        raise ValueError(f"{where}: needs a file and a caption; the header must be {','.join(HEADER)}")
    file = path_below(source, name, where)
    if not file.is_file():
        raise ValueError(f"{where}: {file} is missing; correct the path")
    try:
        start = float(row.get("start") or 0.0)
        end = float(row["end"]) if row.get("end") else None
    except ValueError as error:
        raise ValueError(f"{where}: start and end must be seconds ({error}); correct them") from error
    if not (math.isfinite(start) and start >= 0 and (end is None or end > start)):
        raise ValueError(f"{where}: spans {start:g} to {end} seconds; the end must be after the start")
    return Clip(file, caption, start, end)


class _ClipReader:
    """Reads a clip at the times 0, 1/fps, 2/fps ... after its start, as squares."""

    def __init__(self, clip: Clip, fps: float, side: int) -> None:
        self._clip, self._fps, self._side = clip, fps, side
        self._video_end: float | None = None

    def frames(self) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
        """The frames, each repeated or left out as its time says. ValueError when the file is damaged or of depth, or
        shows a frame longer than any video does."""
        clip, count = self._clip, 0
        codec.probe(clip.file)
        for frame, end in _with_ends(codec.decode_timed(clip.file)):
            if end - frame.seconds > MAX_FRAME_SECONDS:
                raise ValueError(
                    f"{clip.file}: shows one frame for {end - frame.seconds:.0f} s, which no video does; convert it to "
                    "mp4 first"
                )
            while (time := clip.start + count / self._fps) < end - 1e-6:
                if clip.end is not None and time >= clip.end - 1e-6:
                    return
                yield resize_with_pad(frame.image[None], self._side, self._side, frame.pixel_aspect).numpy()[0]
                count += 1
            self._video_end = end

    def missing(self) -> list[str]:
        """A line about the part of the clip that is after the end of its video, if any; after all frames are read."""
        clip, end = self._clip, self._video_end
        if end is None or clip.end is None or clip.end <= end + 0.5 / self._fps:
            return []
        return [
            f"{clip.file.name}: {max(end, clip.start):.1f} to {clip.end:g} s of {clip.caption!r}; the video ends at "
            f"{end:.1f} s"
        ]


def _with_ends(frames: Iterator[TimedFrame]) -> Iterator[tuple[TimedFrame, float]]:
    """Frames with the second until which each is shown: that of the next one, or its own duration."""
    last = None
    for frame in frames:
        if last is not None:
            yield last, frame.seconds
        last = frame
    if last is not None:
        yield last, last.seconds + last.duration
