"""A folder of plain videos -> a LeRobot dataset without actions, to learn the world from.

Each clip becomes an episode: a whole file, or what a CSV lists of it, cut where the picture changes at once.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from wla.data.lerobot.writer import DatasetWriter
from wla.data.transforms import resize_with_pad
from wla.data.video import codec
from wla.files import atomic_dir
from wla.progress import progress_bar
from wla.specs import ActionSpec, ObservationSpec, RobotSpec

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
CAMERA = "front"
HEADER = ("file", "caption", "start", "end")
CUT_THRESHOLD = 60.0
"""Levels by which consecutive frames differ on average at a cut."""
MIN_CLIP_FRAMES = 2
"""Frames of an episode at least."""


@dataclass(frozen=True)
class Clip:
    """Part of a file, in seconds (end None: to its end), and what happens in it."""

    file: Path
    caption: str
    start: float = 0.0
    end: float | None = None


def convert_videos(
    source: Path, out: Path, *, fps: float, side: int, captions: Path | None = None, cuts: bool = True
) -> tuple[int, list[str]]:
    """Write the videos below `source` as the new dataset `out`, as squares of `side` pixels at `fps` frames per second.

    captions: a CSV file,caption[,start,end] (seconds); without it every file is a clip and its name the caption. cuts:
    whether to look for cuts. Returns the number of episodes, and what was left out and why. ValueError when there is
    nothing to write, a file is damaged, or `out` exists; nothing is left behind then.
    """
    if out.exists():
        raise ValueError(f"{out}: exists already; give a new folder")
    if side % 2:
        raise ValueError(f"side is {side}; H.264 video needs an even number of pixels")
    clips = _clips_from_csv(captions, source) if captions is not None else _clips_from_names(source)
    spec, left_out, count = video_robot_spec(fps, side), list[str](), 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_dir(out) as fresh,
        DatasetWriter(fresh, spec, with_actions=False) as writer,
        progress_bar() as progress,
    ):
        for clip in progress.track(clips, description="reading videos"):
            for frames in split_scenes(_resample(clip, fps, side), cuts=cuts):
                if len(frames) < MIN_CLIP_FRAMES:
                    left_out.append(f"{clip.file.name}: {len(frames)} frames of {clip.caption!r} are too few")
                    continue
                for frame in frames:
                    writer.add_frame({CAMERA: frame}, np.zeros(1, np.float32), None)
                writer.end_episode(clip.caption, keep=True)
                count += 1
        if not count:
            raise ValueError(f"{source}: no clip has {MIN_CLIP_FRAMES} frames at {fps:g} fps; nothing is written")
    return count, left_out


def video_robot_spec(fps: float, side: int) -> RobotSpec:
    """Nobody's: one camera, no state to speak of, and actions that are never recorded."""
    nothing = ActionSpec(
        names=("none",),
        units=("1",),
        kinds=("absolute",),
        low=(0.0,),
        high=(0.0,),
        frame="world",
        gripper="none",
        rate_hz=fps,
    )
    seen = ObservationSpec(
        cameras={CAMERA: (side, side)}, state_names=("none",), state_units=("1",), state_frame="world"
    )
    return RobotSpec(embodiment="video", action=nothing, observation=seen)


def split_scenes(
    frames: Iterator[UInt8[np.ndarray, "S S 3"]], *, cuts: bool
) -> Iterator[list[UInt8[np.ndarray, "S S 3"]]]:
    """The frames between cuts."""
    together: list[UInt8[np.ndarray, "S S 3"]] = []
    for frame in frames:
        if cuts and together and np.abs(frame.astype(int) - together[-1]).mean() > CUT_THRESHOLD:
            yield together
            together = []
        together.append(frame)
    if together:
        yield together


def caption_from_name(name: str) -> str:
    """The words of a file's name: pick_up-the_cup_03 says 'pick up the cup'."""
    return " ".join(word for word in re.split(r"[^\w]+|_+", name) if word and not word.isdigit()).lower()


def _clips_from_names(source: Path) -> list[Clip]:
    files = sorted(file for file in source.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{source}: no videos here ({', '.join(SUFFIXES)})")
    clips = [Clip(file, caption_from_name(file.stem)) for file in files]
    silent = [clip.file.name for clip in clips if not clip.caption]
    if silent:
        raise ValueError(f"{source}: the name of {silent[0]} says nothing; rename it, or give --captions FILE.csv")
    return clips


def _clips_from_csv(path: Path, source: Path) -> list[Clip]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({error}); its header is {','.join(HEADER)}") from error
    if not rows:
        raise ValueError(f"{path}: lists no clips; its header is {','.join(HEADER)}")
    return [_clip(row, f"{path} line {number}", source) for number, row in enumerate(rows, start=2)]


def _clip(row: dict[str, str], where: str, source: Path) -> Clip:
    name, caption = (row.get("file") or "").strip(), (row.get("caption") or "").strip()
    if not name or not caption:
        raise ValueError(f"{where}: needs a file and a caption; the header is {','.join(HEADER)}")
    file = source / name
    if not file.is_file():
        raise ValueError(f"{where}: {file} is missing")
    try:
        start = float(row.get("start") or 0.0)
        end = float(row["end"]) if row.get("end") else None
    except ValueError as error:
        raise ValueError(f"{where}: start and end are seconds ({error})") from error
    if start < 0 or (end is not None and end <= start):
        raise ValueError(f"{where}: spans {start:g} to {end} seconds; the end must come after the start")
    return Clip(file, caption, start, end)


def _resample(clip: Clip, fps: float, side: int) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """The frames of a clip at the times 0, 1/fps, 2/fps ... after its start."""
    rate = codec.probe(clip.file).rate
    if rate <= 0:
        raise ValueError(f"{clip.file}: does not say how many frames per second it has; convert it to mp4 first")
    due = 0
    for index, frame in enumerate(codec.decode(clip.file)):
        at = float(index / rate) - clip.start
        if clip.end is not None and at >= clip.end - clip.start:
            return
        # A frame shows what was there until the next one came; slow videos show some frames twice.
        while at >= 0 and due / fps < at + float(1 / rate) - 1e-6 and due / fps >= at - 1e-6:
            yield resize_with_pad(frame[None], side, side).numpy()[0]
            due += 1
