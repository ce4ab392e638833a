"""Frames are found by the times at which they are shown, the same ones in the cache and when they are sought."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from small_datasets import image, psnr
from test_reader import EPISODES, VIDEO, edit_table, set_cell

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.validation.dataset import check
from wla.data.video.index import read_index
from wla.data.video.video_files import VideoFiles

FROM = "videos/observation.images.front/from_timestamp"
FOREIGN = np.full((32, 48, 3), 255, np.uint8)
OWN = [image(number // 10, number % 10) for number in range(20)]
"""The frames of the two episodes that share a file."""


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> None:
    """A video whose frames are shown at `times`, in milliseconds; every 100 ms by default."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10, options={"crf": "10"} | (options or {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts = 100 * number if times is None else times[number]
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def wrong_frames(root: Path) -> list[int]:
    """The frames of the first two episodes that are not those that were written, by either way of reading."""
    dataset = LeRobotDataset(root)
    order = np.random.default_rng(0).permutation(20)
    sought = dataset.random_access_frames("front")[order]
    cached = dataset.frames("front")
    np.testing.assert_array_equal(sought, cached[order])
    single = [dataset.random_access_frames("front")[np.array([index])][0] for index in order]
    np.testing.assert_array_equal(np.stack(single), sought)
    return [index for index in range(20) if max(range(20), key=lambda n: psnr(cached[index], OWN[n])) != index]


def place(root: Path, firsts: Sequence[int]) -> None:
    for episode, first in enumerate(firsts):
        edit_table(root / EPISODES, set_cell(FROM, episode, first / 10))
        edit_table(root / EPISODES, set_cell(FROM.replace("from", "to"), episode, (first + 10) / 10))


@pytest.mark.parametrize(
    "options",
    [{"g": "2", "bf": "0"}, {"g": "250", "bf": "3"}, {"g": "6", "x264-params": "open-gop=1:bframes=3"}, {"g": "1"}],
    ids=str,
)
def test_key_frames_and_b_frames_do_not_matter(root, options):
    write_video(root / VIDEO, OWN, options=options)
    assert wrong_frames(root) == []


@pytest.mark.parametrize(
    ("frames", "firsts"),
    [
        ([*OWN[:10], *[FOREIGN] * 3, *OWN[10:], *[FOREIGN] * 4], (0, 13)),
        ([*[FOREIGN] * 6, *OWN], (6, 16)),
        ([*OWN[10:], *OWN[:10]], (10, 0)),
    ],
    ids=["discarded takes", "dropped episode", "another order"],
)
def test_segments_may_leave_gaps_and_come_in_any_order(root, frames, firsts):
    write_video(root / VIDEO, frames)
    place(root, firsts)
    assert wrong_frames(root) == []
    found = [issue.message for issue in check(root)]
    spare = len(frames) - 20
    assert found == ([f"{VIDEO}: {spare} of its {len(frames)} frames belong to no episode"] if spare else [])


def test_one_part_of_a_video_may_be_two_episodes(root):
    write_video(root / VIDEO, OWN[:10])
    place(root, (0, 0))
    dataset = LeRobotDataset(root)
    frames = dataset.frames("front")
    np.testing.assert_array_equal(frames[:10], frames[10:20])
    np.testing.assert_array_equal(dataset.random_access_frames("front")[np.arange(20)], frames[:20])
    assert [issue.message for issue in check(root)] == [f"{VIDEO}: frame 0 belongs to two episodes"]


def test_times_may_begin_late_and_be_less_than_half_a_frame_off(root):
    off = np.random.default_rng(1).integers(-40, 41, 20)
    off[0] = 0
    write_video(root / VIDEO, OWN, times=(5000 + 100 * np.arange(20) + off).tolist())
    assert wrong_frames(root) == []
    assert check(root) == []


@pytest.mark.parametrize(
    "times",
    [
        np.cumsum([0, *[150] * 9, *[75] * 10]),  # slow first
        [*range(0, 1200, 100), 1390, *range(1400, 2000, 100), 2010],  # a pause that is caught up
    ],
    ids=["drift", "pause"],
)
def test_times_and_order_that_name_different_frames_are_one_clear_line(root, times):
    write_video(root / VIDEO, OWN, times=list(map(int, times)))
    dataset = LeRobotDataset(root)
    message = rf"{VIDEO}: frame \d+ is shown at \d\.\d+ s, at 10 frames/s the dataset has it at"
    with pytest.raises(ValueError, match=message):
        dataset.random_access_frames("front")[np.arange(20)]
    with pytest.raises(ValueError, match=message):
        dataset.frames("front")
    assert any("is shown at" in issue.message for issue in check(root) if issue.severity == "error")


def test_headers_that_do_not_count_frames_are_read_anyway(root):
    write_video(root / VIDEO, OWN, container_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    assert wrong_frames(root) == []
    assert check(root) == []


def test_frames_that_an_edit_list_hides_are_none(root, tmp_path):
    write_video(tmp_path / "whole.mp4", [*[FOREIGN] * 6, *OWN], options={"g": "250", "bf": "0"})
    with av.open(str(tmp_path / "whole.mp4")) as source, av.open(str(root / VIDEO), "w") as cut:
        stream = cut.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= 6 * packet.duration
                packet.dts -= 6 * packet.duration
                packet.stream = stream
                cut.mux(packet)
    assert wrong_frames(root) == []
    assert check(root) == []


def test_a_gap_is_decoded_through_only_where_that_is_cheaper(root):
    for distance, expected in (("2", [[0], [9]]), ("250", [[0, 9]])):
        write_video(root / VIDEO, OWN, options={"g": distance, "bf": "0"})
        assert VideoFiles(Fraction(10), (32, 48)).pieces(root / VIDEO, [0, 9]) == expected


def test_the_index_has_the_key_frames(root):
    write_video(root / VIDEO, OWN, options={"g": "4", "bf": "0", "sc_threshold": "0"})
    assert read_index(root / VIDEO).keys.tolist() == [4 * (number // 4) for number in range(20)]
