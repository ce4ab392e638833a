"""H.264 in mp4: encodes an episode, joins episodes into one file, counts and decodes frames.

Encoder settings, measured on 96 px frames of coloured blocks on one core: `veryfast` encodes 4500 frames/s at 0.9 kB,
`ultrafast` is faster with larger files, `medium` slower without smaller ones. Every second frame is a key frame (fast
random access for readers that seek); no B frames: decoding order is display order. Quality is limited by the chroma
planes at half resolution: averaging (AREA) gives 37.4 dB, PyAV's default 36.1. One converter per video is
two to three times faster than PyAV's `to_ndarray(format=...)`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from wla.data.images import MAX_PIXELS
from wla.data.video.orientation import display_matrix, is_transposed, upright
from wla.foreign import damaged


class UnreadableVideo(ValueError):
    """A whole video that is not read as colour images: of a codec that is not known here, or of depth."""


RECORDING = {"preset": "veryfast", "crf": "18", "g": "2", "bf": "0"}
"""Encoder settings of datasets."""
VIEWING = RECORDING | {"crf": "23", "g": "15"}
"""Encoder settings of pages: files of less than half the size, for people and without random access by training."""
COLOUR_FRAMES = 8
"""Number of frames of more than 8 bits that are searched for colour."""
_MIN_PIXELS = 2**22
"""Pixels that a decoder may always use: blocks are whole, and some decoders have buffers of several frames."""


@dataclass(frozen=True)
class VideoInfo:
    """Header of a video; rate in frames per second. height and width are those of stored frames, not yet turned."""

    frames: int
    height: int
    width: int
    rate: Fraction


@dataclass(frozen=True)
class TimedFrame:
    """A decoded frame, upright. seconds: when it is shown after the video's start, and for how long if it is the last
    one. pixel_aspect: width of a displayed pixel over its height."""

    image: UInt8[np.ndarray, "H W 3"]
    seconds: float
    duration: float
    pixel_aspect: float


def encode(
    frames: Sequence[UInt8[np.ndarray, "H W 3"]], rate: Fraction, options: Mapping[str, str] = RECORDING
) -> bytes:
    """An mp4 of uint8 RGB frames of one even size, at `rate` frames per second."""
    height, width, _ = frames[0].shape
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=dict(options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # One thread per encoder: parallel collection uses processes, and x264's threads cost more than they gain here.
        stream.codec_context.thread_count = 1
        converter = VideoReformatter()
        for frame in frames:
            rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
            yuv = converter.reformat(rgb, format="yuv420p", interpolation=Interpolation.AREA)
            container.mux(stream.encode(yuv))
        container.mux(stream.encode())
    return buffer.getvalue()


def join(parts: Sequence[bytes], path: Path, rate: Fraction) -> None:
    """Concatenates mp4s that `encode` made with the same size and rate, without encoding them again."""
    count = 0
    with av.open(str(path), "w", format="mp4") as output:
        stream = None
        for part in parts:
            with av.open(io.BytesIO(part), "r") as source:
                if stream is None:
                    stream = output.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is None:  # the empty packet that ends a stream
                        continue
                    packet.stream = stream
                    packet.pts = packet.dts = round(count / (rate * fraction(packet.time_base)))
                    output.mux(packet)
                    count += 1


def probe(path: Path) -> VideoInfo:
    """Reads a video's header. ValueError when the file is absent or damaged; `UnreadableVideo` when its codec is not
    known, or for depth."""
    with video_errors(path, lambda: "its header"):
        container, stream = open_video(path)
        with container:
            _require_colour(path, container, stream)
            return VideoInfo(stream.frames, stream.height, stream.width, fraction(stream.average_rate))


def _require_colour(path: Path, container: InputContainer, stream: VideoStream) -> None:
    """`UnreadableVideo` for one channel of more than 8 bits, which would lose the others of its bits in silence.

    Some codecs have no such format: a video of three channels, whose frames all lack colour, counts as one of one.
    """
    stored = stream.codec_context.format
    bits = max((part.bits for part in stored.components), default=8) if stored is not None else 8
    if stored is None or bits <= 8:
        return
    single = all(part.is_luma or part.is_alpha for part in stored.components)
    if single or not any(_has_colour(frame) for frame in islice(container.decode(stream), COLOUR_FRAMES)):
        raise UnreadableVideo(
            f"{path}: has one channel of {bits} bits ({stored.name}), which is depth and not colour; state "
            '"is_depth_map": true in the "info" of its feature in meta/info.json, or convert it to 8 bits'
        )


def _has_colour(frame: av.VideoFrame) -> bool:
    chroma = frame.reformat(format="yuv444p16le").to_ndarray()[..., 1:]
    return bool(np.abs(chroma.astype(int) - 2**15).max() > 2**8)


def decode(path: Path, size: tuple[int, int] | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """All frames in order, RGB and upright.

    size: the largest (height, width) that is decoded; None for `MAX_PIXELS`. ValueError names the frame at which a
    damaged file stops, or one that is larger.
    """
    for frame in decode_timed(path, size):
        yield frame.image


def decode_timed(path: Path, size: tuple[int, int] | None = None) -> Iterator[TimedFrame]:
    """As `decode`, with the times of the frames."""
    count = 0
    with video_errors(path, lambda: f"frame {count}"):
        container, stream = open_video(path, size)
        with container:
            unit, converter = fraction(stream.time_base) or Fraction(1), VideoReformatter()
            usual = float(1 / (fraction(stream.average_rate) or Fraction(25)))
            aspect = float(fraction(stream.sample_aspect_ratio) or 1)
            # The clock of a player: it begins with the first stream, which may be a sound.
            begin = None if container.start_time is None else container.start_time / av.time_base
            for count, frame in enumerate(container.decode(stream)):
                if count == 0:
                    matrix = display_matrix(frame)
                    next_time = 0.0 if begin is None else begin
                time = next_time if frame.pts is None else float(frame.pts * unit)
                begin = time if begin is None else begin
                duration = float(frame.duration * unit) if frame.duration else usual
                next_time = time + duration
                image = upright(converter.reformat(frame, format="rgb24").to_ndarray(), matrix)
                yield TimedFrame(image, time - begin, duration, 1 / aspect if is_transposed(matrix) else aspect)


def fraction(value: Any) -> Fraction:
    """PyAV's rational number, which is no `Fraction` since version 19; 0 for None."""
    return Fraction(value.numerator, value.denominator) if value else Fraction(0)


def open_video(
    path: Path, size: tuple[int, int] | None = None, *, strict: bool = True
) -> tuple[InputContainer, VideoStream]:
    """Opens a file and its first video stream, to be used inside `video_errors`.

    size: the largest (height, width) that is decoded; None for `MAX_PIXELS`. strict: whether any damaged block is an
    error; by default FFmpeg conceals them and continues. ValueError when the file is absent or without a video;
    `UnreadableVideo` when its codec is not known.
    """
    if not path.is_file():
        raise ValueError(f"{path}: video file is missing; restore it or collect the dataset again")
    container = av.open(str(path))
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        container.close()
        if stream is None:
            raise ValueError(f"{path}: holds no video stream; restore it or collect the dataset again")
        raise UnreadableVideo(f"{path}: its codec is unknown to FFmpeg here; convert it to H.264 or AV1")
    pixels = MAX_PIXELS if size is None else max(_MIN_PIXELS, 2 * size[0] * size[1])
    # Compared by the decoder before it allocates a frame: the size may change after the header.
    stream.codec_context.options |= {"max_pixels": str(pixels)} | ({"err_detect": "explode"} if strict else {})
    stream.codec_context.thread_count = 1
    return container, stream


@contextmanager
def video_errors(path: Path, position: Callable[[], str]) -> Iterator[None]:
    """Context in which errors of the decoder become a ValueError. position: what is being decoded, for the message."""
    try:
        yield
    except (FFmpegError, OSError, MemoryError) as error:
        raise damaged(path, f"video at {position()}", error, "restore it or collect the dataset again") from error
