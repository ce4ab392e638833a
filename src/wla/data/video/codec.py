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
from wla.foreign import damaged

MAX_GAP = 48
"""Number of frames above which seeking is cheaper than decoding the frames in between."""
RECORDING = {"preset": "veryfast", "crf": "18", "g": "2", "bf": "0"}
"""Encoder settings of datasets."""
VIEWING = RECORDING | {"crf": "23", "g": "15"}
"""Encoder settings of pages: files of less than half the size, for people and without random access by training."""
_MIN_PIXELS = 2**22
"""Pixels that a decoder may always use: blocks are whole, and some decoders have buffers of several frames."""


@dataclass(frozen=True)
class VideoInfo:
    """Header of a video; rate in frames per second."""

    frames: int
    height: int
    width: int
    rate: Fraction


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
                    packet.pts = packet.dts = round(count / (rate * _fraction(packet.time_base)))
                    output.mux(packet)
                    count += 1


def probe(path: Path) -> VideoInfo:
    """Reads a video's header. ValueError when the file is absent or damaged, or its codec unknown."""
    with _open(path, lambda: "its header") as (_, stream):
        return VideoInfo(stream.frames, stream.height, stream.width, _fraction(stream.average_rate))


def decode(path: Path, size: tuple[int, int] | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """All frames in order, RGB.

    size: the largest (height, width) that is decoded; None for `MAX_PIXELS`. ValueError names the frame at which a
    damaged file stops, or one that is larger.
    """
    count = 0
    with _open(path, lambda: f"frame {count}", size) as (container, stream):
        # By default FFmpeg conceals damaged blocks and continues.
        stream.codec_context.options |= {"err_detect": "explode"}
        converter = VideoReformatter()
        for frame in container.decode(stream):
            yield converter.reformat(frame, format="rgb24").to_ndarray()
            count += 1


def decode_at(
    path: Path, numbers: Sequence[int], rate: Fraction, size: tuple[int, int] | None = None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames `numbers` (ascending, distinct) of a video with `rate` frames per second, RGB, in order.

    Neighbouring frames are decoded in one go, from the key frame before the first of them. size: as for `decode`.
    ValueError when the file is damaged or ends too early.
    """
    count = 0
    with _open(path, lambda: f"frame {[*numbers, 'end'][count]}", size) as (container, stream):
        for near in np.split(np.array(numbers), np.flatnonzero(np.diff(numbers) > MAX_GAP) + 1):
            for image in _seek_and_decode(container, stream, near.tolist(), rate):
                yield image
                count += 1


def _fraction(value: Any) -> Fraction:
    """PyAV's rational number, which is no `Fraction` since version 19; 0 for None."""
    return Fraction(value.numerator, value.denominator) if value else Fraction(0)


@contextmanager
def _open(
    path: Path, position: Callable[[], str], size: tuple[int, int] | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Context with the first video stream of a file.

    position: the place that is being decoded, for messages. size: the largest (height, width) that is decoded.
    ValueError when the file is absent, damaged, without a video, or when its codec is not known.
    """
    if not path.is_file():
        raise ValueError(f"{path}: video file is missing; restore it or collect the dataset again")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: holds no video stream; restore it or collect the dataset again")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ValueError(f"{path}: its codec is unknown to FFmpeg here; convert it to H.264 or AV1")
            pixels = MAX_PIXELS if size is None else max(_MIN_PIXELS, 2 * size[0] * size[1])
            # Compared by the decoder before it allocates a frame: the size may change after the header.
            stream.codec_context.options |= {"max_pixels": str(pixels)}
            stream.codec_context.thread_count = 1
            yield container, stream
    except (FFmpegError, OSError, MemoryError) as error:
        raise damaged(path, f"video at {position()}", error, "restore it or collect the dataset again") from error


def _seek_and_decode(
    container: InputContainer, stream: VideoStream, numbers: list[int], rate: Fraction
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    begin, unit = stream.start_time or 0, _fraction(stream.time_base) or Fraction(1)
    container.seek(begin + round(numbers[0] / (rate * unit)), stream=stream)
    missing = numbers
    for frame in container.decode(stream):
        number = round(((frame.pts or 0) - begin) * unit * rate)
        if number > missing[0]:
            break
        if number == missing[0]:
            yield frame.to_ndarray(format="rgb24")
            missing = missing[1:]
            if not missing:
                return
    raise ValueError(f"{container.name}: has no frame {missing[0]}; `wla data check` finds such clips")
