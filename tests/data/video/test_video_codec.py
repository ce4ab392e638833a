"""Encoding, joining and decoding keep every frame and its time."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from small_datasets import image, psnr

from wla.data.video import codec
from wla.data.video.video_files import VideoFiles


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(25, 2), Fraction(30), Fraction(30000, 1001)])
def test_joined_episodes_keep_all_frames_and_times(tmp_path, rate):
    episodes = [[image(seed, i) for i in range(length)] for seed, length in enumerate((1, 7, 12))]
    codec.join([codec.encode(frames, rate) for frames in episodes], tmp_path / "v.mp4", rate)
    header = codec.probe(tmp_path / "v.mp4")
    assert (header.frames, header.height, header.width) == (20, 32, 48)
    assert float(header.rate) == pytest.approx(float(rate), rel=1e-3)
    frames = np.stack(list(codec.decode(tmp_path / "v.mp4")))
    for ours, theirs in zip(frames, [frame for part in episodes for frame in part], strict=True):
        assert psnr(ours, theirs) > 35
    with av.open(str(tmp_path / "v.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(20) / float(rate), atol=1e-3)


def test_every_second_frame_is_a_key_frame(tmp_path):
    (tmp_path / "v.mp4").write_bytes(codec.encode([image(0, i) for i in range(8)], Fraction(10)))
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert [frame.key_frame for frame in container.decode(video=0)] == [True, False] * 4


def test_an_absent_or_damaged_video_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"v.mp4: video file is missing"):
        codec.probe(tmp_path / "v.mp4")
    (tmp_path / "v.mp4").write_bytes(b"\0" * 1000)
    with pytest.raises(ValueError, match=r"v.mp4: damaged video"):
        codec.probe(tmp_path / "v.mp4")


@pytest.mark.parametrize("encoder", ["mpeg4", "mjpeg", "libx264"])
@pytest.mark.parametrize("size", [(64, 96), (32, 1024)])
def test_the_limit_of_a_frame_s_size_leaves_decoders_their_buffers(tmp_path, encoder, size):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=10)
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        for level in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((*size, 3), 80 * level, np.uint8))))
        container.mux(stream.encode())
    assert [frame.shape for frame in codec.decode(path, size=size)] == [(*size, 3)] * 3
    assert [frame.shape for frame in VideoFiles(Fraction(10), size).read(path, [0, 2])] == [(*size, 3)] * 2
